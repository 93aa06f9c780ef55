//! Services, their methods and the routes to them.

use std::collections::BTreeMap;

use heck::{ToShoutySnakeCase, ToSnakeCase};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MethodDescriptor, ServiceDescriptor};

use crate::error::{Error, declaration, line};
use crate::http_rule::{self, HttpRule};
use crate::options::{self, MethodRest, ServiceRest};
use crate::template::Plain;

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) service: ServiceDescriptor,
    pub(crate) rest: ServiceRest,
    pub(crate) methods: Vec<Method>,
}

/// A method and its routes.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) method: MethodDescriptor,
    pub(crate) rest: MethodRest,
    pub(crate) routes: Vec<Route>,
}

/// A route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) rule: HttpRule,
    /// The places of the variables' fields in the request.
    pub(crate) variables: Vec<usize>,
}

impl Service {
    /// The static of the service's family; those of its methods begin with it.
    pub(crate) fn static_name(&self) -> String {
        self.service.name().to_shouty_snake_case()
    }

    /// The function that makes the service's routes.
    pub(crate) fn routes_function(&self) -> String {
        format!("{}_routes", self.service.name().to_snake_case())
    }

    pub(crate) fn has_routes(&self) -> bool {
        self.methods.iter().any(|method| !method.routes.is_empty())
    }
}

impl Method {
    pub(crate) fn static_name(&self, service: &Service) -> String {
        format!(
            "{}_{}",
            service.static_name(),
            self.method.name().to_shouty_snake_case()
        )
    }
}

/// Reads the services of these files.
pub(crate) fn collect(pool: &DescriptorPool, files: &[String]) -> Result<Vec<Service>, Error> {
    let mut services = Vec::new();
    let own = |name: &str| files.iter().any(|file| file == name);
    for service in pool
        .services()
        .filter(|service| own(service.parent_file().name()))
    {
        let methods = service.methods().map(method).collect::<Result<_, _>>()?;
        services.push(Service {
            rest: options::service(&service)?,
            service,
            methods,
        });
    }
    check_distinct(&services)?;
    Ok(services)
}

fn method(method: MethodDescriptor) -> Result<Method, Error> {
    let rest = options::method(&method)?;
    let mut routes = Vec::new();
    for rule in http_rule::read(&method)? {
        let variables = variables(&method, &rule)?;
        routes.push(Route { rule, variables });
    }
    Ok(Method {
        method,
        rest,
        routes,
    })
}

fn variables(method: &MethodDescriptor, rule: &HttpRule) -> Result<Vec<usize>, Error> {
    let fault = |reason: String| declaration(&method.parent_file(), method.full_name(), reason);
    let mut found = Vec::new();
    for segment in &rule.segments {
        let Plain::Variable(name) = segment else {
            continue;
        };
        let input = method.input();
        let place = input.fields().position(|field| field.name() == name);
        let field = place.and_then(|place| input.fields().nth(place));
        let (Some(place), Some(field)) = (place, field) else {
            return Err(fault(format!(
                "{}: the request has no field {name}",
                rule.path
            )));
        };
        if !fits_a_segment(&field) {
            return Err(fault(format!(
                "{}: the field {name} does not fit a path",
                rule.path
            )));
        }
        if found.contains(&place) {
            return Err(fault(format!(
                "{}: the field {name} is there twice",
                rule.path
            )));
        }
        found.push(place);
    }
    Ok(found)
}

fn fits_a_segment(field: &FieldDescriptor) -> bool {
    let is_scalar = !matches!(
        field.kind(),
        Kind::Message(_) | Kind::Bytes | Kind::Float | Kind::Double
    );
    is_scalar && !field.is_list()
}

/// No two routes may match the same requests.
fn check_distinct(services: &[Service]) -> Result<(), Error> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for method in services.iter().flat_map(|service| &service.methods) {
        for Route { rule, .. } in &method.routes {
            let shape: Vec<&str> = rule
                .segments
                .iter()
                .map(|segment| match segment {
                    Plain::Literal(text) => text.as_str(),
                    Plain::Variable(_) => "{}",
                })
                .collect();
            let key = format!("{} /{}", rule.http_method, shape.join("/"));
            let name = method.method.full_name().to_owned();
            if let Some(other) = known.insert(key, name.clone()) {
                let file = method.method.parent_file();
                return Err(Error::AmbiguousRoute {
                    file: file.name().to_owned(),
                    line: line(&file, &name, "google.api.http"),
                    item: name,
                    route: format!("{} {}", rule.http_method, rule.path),
                    other,
                });
            }
        }
    }
    Ok(())
}
