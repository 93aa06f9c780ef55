//! Methods whose list is paginated over gRPC and complete over REST.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use crate::{names, options};

/// Field with the token of the page to request.
const PAGE_TOKEN: &str = "page_token";
/// Field with the token of the next page.
const NEXT_PAGE_TOKEN: &str = "next_page_token";

/// Returns the items of a page: the one repeated message of the response, its last member in JSON.
pub(crate) fn items(response: &MessageDescriptor) -> Option<FieldDescriptor> {
    let last = options::json_fields(response).last()?;
    let is_items = last.is_list() && matches!(last.kind(), Kind::Message(_));
    is_items.then_some(last)
}

/// Checks that the method has the fields for pagination.
pub(crate) fn check(method: &MethodDescriptor) -> Result<(), String> {
    let (request, response) = (method.input(), method.output());
    if method.is_client_streaming() || method.is_server_streaming() {
        return Err("whole_list needs a method without streams".to_owned());
    }
    for (message, name) in [(&request, PAGE_TOKEN), (&response, NEXT_PAGE_TOKEN)] {
        let is_token = |field: &FieldDescriptor| {
            field.kind() == Kind::String && !field.is_list() && !field.supports_presence()
        };
        let token = message.get_field_by_name(name).filter(is_token);
        if !token.is_some_and(|token| options::is_hidden(&token)) {
            let message = message.full_name();
            return Err(format!(
                "whole_list needs a hidden string {name} in {message}"
            ));
        }
    }
    if items(&response).is_none() {
        let reason = "whole_list needs a repeated message as the last member of the response";
        return Err(reason.to_owned());
    }
    Ok(())
}

/// Returns the code that lets the gateway read the pages of a method.
pub(crate) fn code(method: &MethodDescriptor) -> String {
    let package = method.parent_service().package_name().to_owned();
    let (request, response) = (method.input(), method.output());
    let Some(items) = items(&response) else {
        return String::new();
    };
    let item = match items.kind() {
        Kind::Message(item) => names::message(&item, &package),
        _ => return String::new(),
    };
    format!(
        "impl ::keyward_gateway::PagedRequest for {request} {{
    fn set_page_token(&mut self, token: ::std::string::String) {{
        self.page_token = token;
    }}
}}

impl ::keyward_gateway::PagedResponse for {response} {{
    type Item = {item};

    fn items(&mut self) -> &mut ::std::vec::Vec<Self::Item> {{
        &mut self.{items}
    }}

    fn next_page_token(&mut self) -> &mut ::std::string::String {{
        &mut self.next_page_token
    }}
}}
",
        request = names::message(&request, &package),
        response = names::message(&response, &package),
        items = names::field(&items),
    )
}
