//! Services, their methods and routes.

use std::collections::BTreeMap;

use heck::{ToShoutySnakeCase, ToSnakeCase};
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

use crate::error::{Error, annotation, declaration, line};
use crate::http_rule::{self, HttpRule};
use crate::options::{self, MethodRest, ServiceRest};
use crate::template::Segment;
use crate::{names, pages};

/// Service with its methods.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) service: ServiceDescriptor,
    pub(crate) rest: ServiceRest,
    pub(crate) methods: Vec<Method>,
}

/// Method and its routes.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) method: MethodDescriptor,
    pub(crate) rest: MethodRest,
    pub(crate) routes: Vec<HttpRule>,
}

impl Service {
    /// Returns the static of the service's defaults; those of its methods begin with it.
    pub(crate) fn static_name(&self) -> String {
        self.service.name().to_shouty_snake_case()
    }

    /// Returns the function that creates the service's routes.
    pub(crate) fn routes_function(&self) -> String {
        format!("{}_routes", self.service.name().to_snake_case())
    }

    /// Returns the items that are generated for the service in its package: the owner and the name.
    fn items(&self) -> Vec<(String, String)> {
        let name = self.service.name();
        let full_name = self.service.full_name();
        let mut items = vec![
            (full_name, format!("static {}", self.static_name())),
            (full_name, format!("struct Validated{name}")),
        ];
        if self.has_routes() {
            items.push((full_name, format!("fn {}", self.routes_function())));
        }
        for method in &self.methods {
            let (full_name, name) = (method.method.full_name(), method.static_name(self));
            items.push((full_name, format!("static {name}")));
            if !method.routes.is_empty() {
                items.push((full_name, format!("static {name}_ROUTES")));
            }
        }
        let items = items.into_iter();
        items.map(|(item, name)| (item.to_owned(), name)).collect()
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
    check_names(pool, &services)?;
    Ok(services)
}

fn method(method: MethodDescriptor) -> Result<Method, Error> {
    let rest = options::method(&method)?;
    if rest.whole_list {
        pages::check(&method).map_err(|reason| {
            let extension = "keyward.gateway.v1.method";
            annotation(&method.parent_file(), method.full_name(), extension, reason)
        })?;
    }
    Ok(Method {
        routes: http_rule::read(&method, rest.success_status)?,
        rest,
        method,
    })
}

/// Identity of a route: the HTTP method, the verb and the segments. The names of its variables and
/// the segments that they cover are ignored.
type Shape<'r> = (&'r str, Option<&'r str>, &'r [Segment]);

/// Rejects two routes that match the same requests. A route for all HTTP methods leaves the named
/// methods to other routes, so it conflicts only with another route for all.
fn check_distinct(services: &[Service]) -> Result<(), Error> {
    let mut known: BTreeMap<Shape<'_>, String> = BTreeMap::new();
    for method in services.iter().flat_map(|service| &service.methods) {
        for rule in &method.routes {
            let key = (
                rule.http_method.as_str(),
                rule.verb.as_deref(),
                rule.segments.as_slice(),
            );
            let name = method.method.full_name().to_owned();
            if let Some(other) = known.insert(key, name.clone()) {
                let file = method.method.parent_file();
                return Err(Error::AmbiguousRoute {
                    file: file.name().to_owned(),
                    line: line(&file, &name, http_rule::HTTP),
                    item: name,
                    route: format!("{} {}", rule.http_method, rule.path),
                    other,
                });
            }
        }
    }
    Ok(())
}

/// Rejects two items of a package with one name in Rust.
fn check_names(pool: &DescriptorPool, services: &[Service]) -> Result<(), Error> {
    // Owner of each name, per package.
    let mut known: BTreeMap<(String, String), String> = BTreeMap::new();
    for message in pool.all_messages() {
        let package = message.package_name();
        let name = format!("struct {}", names::message(&message, package));
        known.insert((package.to_owned(), name), message.full_name().to_owned());
    }
    for descriptor in pool.all_enums() {
        let package = descriptor.package_name();
        let name = format!("struct {}", names::enumeration(&descriptor, package));
        known.insert(
            (package.to_owned(), name),
            descriptor.full_name().to_owned(),
        );
    }
    for service in services {
        let package = service.service.package_name();
        for list in ["static METHODS", "static TYPES"] {
            let whose = "a list of all that the package has".to_owned();
            known.insert((package.to_owned(), list.to_owned()), whose);
        }
    }
    for service in services {
        let package = service.service.package_name();
        for (item, name) in service.items() {
            let key = (package.to_owned(), name);
            if let Some(other) = known.get(&key) {
                let reason = format!("{} would be the name of {other} too", key.1);
                let file = service.service.parent_file();
                return Err(declaration(&file, item, reason));
            }
            known.insert(key, item);
        }
    }
    Ok(())
}
