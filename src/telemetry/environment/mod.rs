//! Validates OpenTelemetry's environment variables before anything starts: the SDK would ignore values that it
//! cannot parse, and export elsewhere or not at all.
//!
//! An error names the variable and the expected value, and never the actual value, which may be a secret.
//! Variables that neither the SDK nor this module supports are rejected.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

/// Default timeout of an export.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Error for a variable. It never contains the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{variable}` {problem}")]
pub(super) struct Malformed {
    variable: String,
    problem: String,
}

/// Settings for OTLP exports.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// Export of spans, if enabled.
    pub(super) traces: Option<Exporting>,
    /// Export of metrics, if enabled.
    pub(super) metrics: Option<Exporting>,
    /// True if the environment does not name the service.
    pub(super) is_nameless: bool,
    /// True if the environment does not identify the instance.
    pub(super) is_one_of_many: bool,
}

/// Export settings for one signal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exporting {
    /// Protocol.
    pub(super) protocol: Protocol,
    /// True if TLS is used.
    pub(super) is_secure: bool,
    /// Timeout of an export.
    pub(super) timeout: Duration,
    /// CA certificates for the collector. `None` uses those of the system.
    pub(super) authorities: Option<File>,
    /// Client certificate and its key.
    pub(super) identity: Option<(File, File)>,
}

/// Protocols of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// File that a variable names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    variable: String,
    path: PathBuf,
}

impl File {
    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(&self) -> Result<Vec<u8>, Malformed> {
        std::fs::read(&self.path)
            .map_err(|error| self.malformed(format!("names a file that cannot be read: {error}")))
    }

    /// Returns an error that names the variable of the file.
    pub(super) fn malformed(&self, problem: impl Into<String>) -> Malformed {
        malformed(&self.variable, problem)
    }
}

/// Returns an error that names the variable.
pub(super) fn malformed(variable: &str, problem: impl Into<String>) -> Malformed {
    Malformed {
        variable: variable.to_owned(),
        problem: problem.into(),
    }
}

/// Reads variables by name. An empty variable counts as unset, as the specification requires.
struct Variables<F>(F);

/// A variable that is set.
struct Variable {
    name: String,
    value: String,
}

impl Variable {
    fn malformed(&self, problem: &str) -> Malformed {
        malformed(&self.name, problem)
    }
}

impl Environment {
    /// Reads and validates all variables.
    ///
    /// # Errors
    /// The first invalid variable.
    pub(super) fn read(
        get: impl Fn(&str) -> Option<std::ffi::OsString>,
    ) -> Result<Self, Malformed> {
        let variables = Variables(get);
        if variables.flag("OTEL_SDK_DISABLED")? {
            return Ok(Self::default());
        }
        variables.check_what_the_sdk_reads()?;
        variables.reject_unsupported()?;
        let named = variables.resource_attributes()?;
        let names = |wanted: &str| named.iter().any(|name| name == wanted);
        Ok(Self {
            traces: variables.exporting("TRACES", Some("OTEL_BSP_EXPORT_TIMEOUT"))?,
            metrics: variables.exporting("METRICS", Some("OTEL_METRIC_EXPORT_TIMEOUT"))?,
            is_nameless: variables.get("OTEL_SERVICE_NAME")?.is_none() && !names("service.name"),
            is_one_of_many: !names("service.instance.id"),
        })
    }
}

impl<F: Fn(&str) -> Option<std::ffi::OsString>> Variables<F> {
    fn get(&self, name: &str) -> Result<Option<Variable>, Malformed> {
        let Some(value) = (self.0)(name) else {
            return Ok(None);
        };
        let value = value
            .into_string()
            .map_err(|_| malformed(name, "must be UTF-8"))?;
        let name = name.to_owned();
        Ok((!value.is_empty()).then_some(Variable { name, value }))
    }

    /// Returns the variable of one signal, or else the common one.
    fn of_signal(&self, signal: &str, name: &str) -> Result<Option<Variable>, Malformed> {
        match self.get(&format!("OTEL_EXPORTER_OTLP_{signal}_{name}"))? {
            Some(own) => Ok(Some(own)),
            None => self.get(&format!("OTEL_EXPORTER_OTLP_{name}")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Malformed> {
        match self.one_of(name, &["true", "false"])? {
            Some(variable) => Ok(variable.value.eq_ignore_ascii_case("true")),
            None => Ok(false),
        }
    }

    fn one_of(&self, name: &str, known: &[&str]) -> Result<Option<Variable>, Malformed> {
        let found = self.get(name)?;
        if let Some(variable) = &found {
            is_one_of(variable, known)?;
        }
        Ok(found)
    }

    fn number(&self, name: &str, least: u64) -> Result<Option<u64>, Malformed> {
        let found = self.get(name)?;
        found.map(|variable| number(&variable, least)).transpose()
    }

    fn check_what_the_sdk_reads(&self) -> Result<(), Malformed> {
        let samplers = [
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ];
        // The SDK only accepts lower case.
        if let Some(variable) = self.get("OTEL_TRACES_SAMPLER")?
            && !samplers.contains(&variable.value.as_str())
        {
            return Err(variable.malformed(&must_be(&samplers)));
        }
        if let Some(variable) = self.get("OTEL_TRACES_SAMPLER_ARG")? {
            let ratio = variable.value.parse::<f64>().unwrap_or(f64::NAN);
            if !(0.0..=1.0).contains(&ratio) {
                return Err(variable.malformed("must be a number from 0 to 1"));
            }
        }
        self.number("OTEL_BSP_SCHEDULE_DELAY", 1)?;
        let queue = self.number("OTEL_BSP_MAX_QUEUE_SIZE", 1)?.unwrap_or(2048);
        let batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1)?;
        if batch.is_some_and(|batch| batch > queue) {
            let problem = "must not be greater than `OTEL_BSP_MAX_QUEUE_SIZE`";
            return Err(malformed("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", problem));
        }
        self.number("OTEL_METRIC_EXPORT_INTERVAL", 1)?;
        for limit in ["SPAN_ATTRIBUTE", "SPAN_EVENT", "SPAN_LINK"] {
            let name = format!("OTEL_{limit}_COUNT_LIMIT");
            if self
                .number(&name, 0)?
                .is_some_and(|it| u32::try_from(it).is_err())
            {
                return Err(malformed(&name, "is too large"));
            }
        }
        self.one_of(
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            &["cumulative", "delta", "lowmemory"],
        )?;
        Ok(())
    }

    /// Rejects settings that would be ignored silently.
    fn reject_unsupported(&self) -> Result<(), Malformed> {
        // The log of this process goes to standard error.
        self.one_of("OTEL_LOGS_EXPORTER", &["none"])?;
        self.one_of("OTEL_METRICS_EXEMPLAR_FILTER", &["always_off"])?;
        self.one_of(
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            &["explicit_bucket_histogram"],
        )?;
        if let Some(variable) = self.get("OTEL_PROPAGATORS")? {
            let parts = || variable.value.split(',').map(str::trim);
            if !parts().any(|part| part == "tracecontext")
                || parts().any(|part| !["tracecontext", "baggage"].contains(&part))
            {
                let problem = "must be `tracecontext`, or `tracecontext,baggage`, whose baggage is \
                               not read";
                return Err(variable.malformed(problem));
            }
        }
        for name in [
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_EXPERIMENTAL_CONFIG_FILE",
            "OTEL_CONFIG_FILE",
        ] {
            if let Some(variable) = self.get(name)? {
                return Err(variable.malformed("is not supported; leave it out"));
            }
        }
        Ok(())
    }

    /// Returns the names of the resource attributes that the environment sets.
    fn resource_attributes(&self) -> Result<Vec<String>, Malformed> {
        let Some(variable) = self.get("OTEL_RESOURCE_ATTRIBUTES")? else {
            return Ok(Vec::new());
        };
        let pairs = variable.value.split_terminator(',');
        let name = |pair: &str| {
            let name = pair.split_once('=').map(|(name, _)| name.trim());
            name.filter(|name| !name.is_empty()).map(str::to_owned)
        };
        let names: Option<Vec<String>> = pairs.map(name).collect();
        names.ok_or_else(|| variable.malformed("must be `name=value` pairs, parted by commas"))
    }

    /// Returns the export settings of a signal. `None` unless a collector is configured or the exporter is
    /// enabled by name.
    fn exporting(
        &self,
        signal: &str,
        timeout_variable: Option<&str>,
    ) -> Result<Option<Exporting>, Malformed> {
        let chosen = self.one_of(&format!("OTEL_{signal}_EXPORTER"), &["otlp", "none"])?;
        let is = |name: &str| {
            chosen
                .as_ref()
                .is_some_and(|it| it.value.eq_ignore_ascii_case(name))
        };
        let endpoint = self.of_signal(signal, "ENDPOINT")?;
        let protocol = self.protocol(signal)?;
        let is_secure = self.is_secure(signal, endpoint.as_ref())?;
        self.check_compression(signal)?;
        self.check_headers(signal)?;
        let mut timeout = match self.of_signal(signal, "TIMEOUT")? {
            Some(variable) => Duration::from_millis(number(&variable, 1)?),
            None => DEFAULT_TIMEOUT,
        };
        // The SDK leaves the timeout to the exporter.
        if let Some(name) = timeout_variable
            && let Some(millis) = self.number(name, 1)?
        {
            timeout = timeout.min(Duration::from_millis(millis));
        }
        let authorities = self.file(signal, "CERTIFICATE")?;
        let identity = match (
            self.file(signal, "CLIENT_CERTIFICATE")?,
            self.file(signal, "CLIENT_KEY")?,
        ) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(alone), None) | (None, Some(alone)) => {
                let problem = "needs the other: a client has a certificate and its key";
                return Err(alone.malformed(problem));
            }
        };
        if is("none") || (endpoint.is_none() && !is("otlp")) {
            return Ok(None);
        }
        Ok(Some(Exporting {
            protocol,
            is_secure,
            timeout,
            authorities,
            identity,
        }))
    }

    fn protocol(&self, signal: &str) -> Result<Protocol, Malformed> {
        let Some(variable) = self.of_signal(signal, "PROTOCOL")? else {
            // The default that the specification recommends.
            return Ok(Protocol::HttpProtobuf);
        };
        match variable.value.as_str() {
            "grpc" => Ok(Protocol::Grpc),
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            _ => Err(variable.malformed(&must_be(&["grpc", "http/protobuf"]))),
        }
    }

    fn is_secure(&self, signal: &str, endpoint: Option<&Variable>) -> Result<bool, Malformed> {
        let insecure = self.of_signal(signal, "INSECURE")?;
        if let Some(variable) = &insecure {
            is_one_of(variable, &["true", "false"])?;
        }
        let Some(variable) = endpoint else {
            return Ok(false);
        };
        let uri: Option<Uri> = variable.value.parse().ok();
        let scheme = uri.as_ref().filter(|uri| uri.host().is_some());
        match scheme.and_then(Uri::scheme_str) {
            Some("http") => Ok(false),
            Some("https") => Ok(true),
            _ => Err(variable.malformed("must be a URL that begins with http:// or https://")),
        }
    }

    fn check_compression(&self, signal: &str) -> Result<(), Malformed> {
        match self.of_signal(signal, "COMPRESSION")? {
            Some(variable) => is_one_of(&variable, &["gzip", "zstd", "none"]),
            None => Ok(()),
        }
    }

    fn check_headers(&self, signal: &str) -> Result<(), Malformed> {
        let Some(variable) = self.of_signal(signal, "HEADERS")? else {
            return Ok(());
        };
        let is_header = |pair: &str| {
            pair.split_once('=').is_some_and(|(name, value)| {
                HeaderName::try_from(name.trim()).is_ok()
                    && HeaderValue::from_str(value.trim()).is_ok()
            })
        };
        if variable.value.split_terminator(',').all(is_header) {
            Ok(())
        } else {
            Err(variable.malformed("must be `name=value` pairs of headers, parted by commas"))
        }
    }

    fn file(&self, signal: &str, name: &str) -> Result<Option<File>, Malformed> {
        let found = self.of_signal(signal, name)?;
        Ok(found.map(|variable| File {
            variable: variable.name,
            path: PathBuf::from(variable.value),
        }))
    }
}

fn is_one_of(variable: &Variable, known: &[&str]) -> Result<(), Malformed> {
    if known
        .iter()
        .any(|it| it.eq_ignore_ascii_case(&variable.value))
    {
        Ok(())
    } else {
        Err(variable.malformed(&must_be(known)))
    }
}

fn must_be(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|it| format!("`{it}`")).collect();
    format!("must be {}", quoted.join(" or "))
}

fn number(variable: &Variable, least: u64) -> Result<u64, Malformed> {
    let number = variable.value.parse::<u64>().ok();
    number
        .filter(|number| (least..=u64::from(u32::MAX)).contains(number))
        .ok_or_else(|| variable.malformed(&format!("must be a whole number from {least}")))
}

#[cfg(test)]
mod tests;
