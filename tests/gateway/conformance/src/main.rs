//! Test program for protobuf's conformance runner: tests the JSON that the gateway's generator
//! creates for messages. `tests/gateway/conformance/run` builds and starts it.
//!
//! The runner writes requests to the standard input, each after its length in four bytes, and reads
//! one response to each. A request has a message in binary or JSON and names the form of the
//! response, binary or JSON. Requests for other formats or for messages other than proto3 are
//! skipped.

#[allow(
    dead_code,
    unreachable_pub,
    clippy::enum_variant_names,
    clippy::large_enum_variant,
    reason = "generated code is not used in full"
)]
mod proto {
    pub(crate) mod conformance {
        include!(concat!(env!("OUT_DIR"), "/conformance.rs"));
    }
    pub(crate) mod protobuf_test_messages {
        pub(crate) mod proto3 {
            include!(concat!(
                env!("OUT_DIR"),
                "/protobuf_test_messages.proto3.rs"
            ));
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic, clippy::unwrap_used, reason = "tests may panic")]
mod tests;

use std::io::{self, ErrorKind, Read, Write};

use keyward_gateway::json::{self, JsonOptions};
use prost::Message;

use proto::conformance::conformance_request::Payload;
use proto::conformance::conformance_response::Result as ConformanceResult;
use proto::conformance::{
    ConformanceRequest, ConformanceResponse, FailureSet, TestCategory, WireFormat,
};
use proto::protobuf_test_messages::proto3::{TYPES, TestAllTypesProto3};

fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut length = [0; 4];
    loop {
        match input.read_exact(&mut length) {
            Err(end) if end.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
        let mut request = vec![0; length];
        input.read_exact(&mut request)?;

        let result = match ConformanceRequest::decode(request.as_slice()) {
            Ok(request) => run(request),
            Err(error) => ConformanceResult::RuntimeError(error.to_string()),
        };
        let response = ConformanceResponse {
            result: Some(result),
        };
        let bytes = response.encode_to_vec();
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        output.write_all(&length.to_le_bytes())?;
        output.write_all(&bytes)?;
        output.flush()?;
    }
}

fn run(request: ConformanceRequest) -> ConformanceResult {
    // The first request asks for the known failures, which are in the runner's list.
    if request.message_type == "conformance.FailureSet" {
        return ConformanceResult::ProtobufPayload(FailureSet::default().encode_to_vec());
    }
    if request.message_type != "protobuf_test_messages.proto3.TestAllTypesProto3" {
        return ConformanceResult::Skipped("only proto3".to_owned());
    }
    let mut options = JsonOptions::default().with_types(TYPES).omit_defaults();
    if request.test_category() == TestCategory::JsonIgnoreUnknownParsingTest {
        options = options.ignore_unknown_enum_names();
    } else {
        options = options.reject_unknown_members();
    }

    let output = request.requested_output_format();
    let message = match request.payload {
        Some(Payload::ProtobufPayload(bytes)) => {
            TestAllTypesProto3::decode(bytes.as_slice()).map_err(|error| error.to_string())
        }
        Some(Payload::JsonPayload(text)) => {
            json::decode(text.as_bytes(), &options).map_err(|error| error.description)
        }
        _ => return ConformanceResult::Skipped("neither binary nor JSON comes in".to_owned()),
    };
    let message: TestAllTypesProto3 = match message {
        Ok(message) => message,
        Err(error) => return ConformanceResult::ParseError(error),
    };
    match output {
        WireFormat::Protobuf => ConformanceResult::ProtobufPayload(message.encode_to_vec()),
        WireFormat::Json => written(&message, &options),
        _ => ConformanceResult::Skipped("neither binary nor JSON is to go out".to_owned()),
    }
}

fn written(message: &TestAllTypesProto3, options: &JsonOptions) -> ConformanceResult {
    let text = json::encode(message, options).map_err(|error| error.to_string());
    match text.and_then(|text| String::from_utf8(text).map_err(|error| error.to_string())) {
        Ok(text) => ConformanceResult::JsonPayload(text),
        Err(error) => ConformanceResult::SerializeError(error),
    }
}
