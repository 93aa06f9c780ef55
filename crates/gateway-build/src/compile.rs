//! Compiles proto files to Rust files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prost_reflect::{DescriptorPool, FileDescriptor, Kind, MessageDescriptor};
use prost_types::FileDescriptorSet;
use protox::Compiler;
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::bundled::Bundled;
use crate::error::{Error, declaration};
use crate::json::{self, JsonType, JsonTypes};
use crate::{Builder, check, emit, openapi, options, routes};

pub(crate) fn compile(builder: &Builder) -> Result<(), Error> {
    let out_dir = match &builder.out_dir {
        Some(directory) => directory.clone(),
        None => std::env::var_os("OUT_DIR")
            .map(PathBuf::from)
            .ok_or(Error::NoOutDir)?,
    };
    for include in &builder.includes {
        println!("cargo:rerun-if-changed={}", include.display());
    }
    let error_body = builder.error_body.as_deref();
    error_body
        .map_or(Ok(()), |body| options::check_template("error_body", body))
        .map_err(|reason| Error::Declaration {
            file: "build.rs".into(),
            line: None,
            item: "Builder".into(),
            reason,
        })?;

    let compiler = open(builder)?;
    let pool = compiler.descriptor_pool();
    let files = own_files(&compiler);
    let packages = plan(builder, &pool, &files)?;
    let services = routes::collect(&pool, &files)?;
    let document = match &builder.openapi {
        Some(settings) => Some(openapi::document(settings, builder, &pool, &services)?),
        None => None,
    };

    write(
        &out_dir.join(&builder.descriptor_name),
        &compiler.encode_file_descriptor_set(),
    )?;
    let set = needed(compiler.file_descriptor_set(), &pool, &files);
    let redacted: Vec<String> = emit::redacted(&pool, &files);
    tonic_prost_build::configure()
        .out_dir(&out_dir)
        .generate_default_stubs(true)
        .skip_debug(redacted.iter().map(|name| format!(".{name}")))
        .compile_fds(set)
        .map_err(|source| Error::Write {
            path: out_dir.clone(),
            source,
        })?;
    for (package, text) in packages {
        // prost's name for the file without a package.
        let name = if package.is_empty() { "_" } else { &package };
        append(&out_dir.join(format!("{name}.rs")), &text)?;
    }
    for (name, text) in document.iter().flat_map(openapi::files) {
        write(&out_dir.join(name), text.as_bytes())?;
    }
    Ok(())
}

fn open(builder: &Builder) -> Result<Compiler, Error> {
    let mut resolver = ChainFileResolver::new();
    for include in &builder.includes {
        resolver.add(IncludeFileResolver::new(include.clone()));
    }
    resolver.add(Bundled);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for file in &builder.files {
        let opened = compiler.open_file(file);
        opened.map_err(|error| not_compiled(&file.display().to_string(), &error))?;
    }
    Ok(compiler)
}

/// The compiler's debug text has the position, but for some errors not the file.
fn not_compiled(asked: &str, error: &protox::Error) -> Error {
    let file = error.file().unwrap_or(asked);
    let placed = format!("{error:?}");
    if placed.starts_with(&format!("{file}:")) {
        Error::Protos(placed)
    } else {
        Error::Protos(format!("{file}: {error}"))
    }
}

/// Returns the names of the requested files, without their imports.
fn own_files(compiler: &Compiler) -> Vec<String> {
    compiler
        .files()
        .filter(|file| !file.is_import())
        .map(|file| file.name().to_owned())
        .collect()
}

/// Returns the text to add to each package's file. All checks run here, before any file is written.
fn plan(
    builder: &Builder,
    pool: &DescriptorPool,
    files: &[String],
) -> Result<BTreeMap<String, String>, Error> {
    judge(pool, files)?;
    let services = routes::collect(pool, files)?;
    let mut types = JsonTypes::default();
    for method in services.iter().flat_map(|service| &service.methods) {
        if !method.routes.is_empty() {
            let (file, name) = (method.method.parent_file(), method.method.full_name());
            for message in [method.method.input(), method.method.output()] {
                json::form(&message).map_err(|reason| declaration(&file, name, reason))?;
                types.add(&message)?;
            }
        }
    }
    if builder.all_messages {
        let own = |message: &MessageDescriptor| {
            let file = message.parent_file();
            files.iter().any(|name| name == file.name()) && !message.is_map_entry()
        };
        for message in pool.all_messages().filter(own) {
            types.add(&message)?;
        }
    }
    let checked = check::collect(pool, files)?;

    let mut packages: BTreeMap<String, String> = BTreeMap::new();
    let mut add = |package: &str, text: String| {
        packages
            .entry(package.to_owned())
            .or_default()
            .push_str(&text);
    };
    for message in emit::with_own_debug(pool, files) {
        add(message.package_name(), emit::debug(&message));
    }
    for (message, rules) in checked.values() {
        add(message.package_name(), emit::check(message, rules));
    }
    let mut by_package: BTreeMap<&str, Vec<&JsonType>> = BTreeMap::new();
    for json_type in types.messages.values() {
        let package = json_type.message.package_name();
        add(package, emit::message(json_type));
        by_package.entry(package).or_default().push(json_type);
    }
    for (package, messages) in by_package {
        add(package, emit::types(messages.into_iter()));
    }
    for descriptor in types.enums.values() {
        add(descriptor.package_name(), emit::enumeration(descriptor));
    }
    let mut methods: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for service in &services {
        let package = service.service.package_name();
        add(package, emit::service(service, builder));
        let names = service
            .methods
            .iter()
            .map(|method| method.static_name(service));
        methods.entry(package).or_default().extend(names);
    }
    for (package, names) in methods {
        add(package, emit::methods(&names));
    }
    Ok(packages)
}

/// Checks the options of every item in the own files, even if no code is generated for it.
fn judge(pool: &DescriptorPool, files: &[String]) -> Result<(), Error> {
    let own = |file: &FileDescriptor| files.iter().any(|name| name == file.name());
    for file in pool.files().filter(&own) {
        options::timestamp_digits(&file)?;
    }
    for message in pool
        .all_messages()
        .filter(|message| own(&message.parent_file()))
    {
        for field in message.fields() {
            check::rule(&field)?;
        }
    }
    for descriptor in pool
        .all_enums()
        .filter(|descriptor| own(&descriptor.parent_file()))
    {
        json::check_enum(&descriptor)?;
    }
    Ok(())
}

/// Returns the own files and the files that define the types they use. A file is included with all
/// of its messages, so the types of each of them are needed too. Imports that only define options
/// are left out, so that no code is generated for them.
fn needed(set: FileDescriptorSet, pool: &DescriptorPool, own: &[String]) -> FileDescriptorSet {
    let mut names = BTreeSet::new();
    let mut open: Vec<FileDescriptor> = pool
        .files()
        .filter(|file| own.iter().any(|name| name == file.name()))
        .collect();
    while let Some(file) = open.pop() {
        if !names.insert(file.name().to_owned()) {
            continue;
        }
        let of_file = |other: FileDescriptor| other.name() == file.name();
        for message in pool
            .all_messages()
            .filter(|message| of_file(message.parent_file()))
        {
            open.extend(message.fields().filter_map(|field| match field.kind() {
                Kind::Message(inner) => Some(inner.parent_file()),
                Kind::Enum(inner) => Some(inner.parent_file()),
                _ => None,
            }));
        }
        for method in file
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
        {
            open.extend([method.input().parent_file(), method.output().parent_file()]);
        }
    }
    let file = set
        .file
        .into_iter()
        .filter(|file| names.contains(file.name()));
    FileDescriptorSet {
        file: file.collect(),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|source| failed(path, source))
}

fn append(path: &Path, text: &str) -> Result<(), Error> {
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|source| failed(path, source))?;
    file.write_all(text.as_bytes())
        .map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Write {
        path: path.to_owned(),
        source,
    }
}
