//! A function's program: what is compiled of it, and what its instances are made from.

use crate::state::{ModuleState, State};
use wasmtime::{Engine, InstancePre, Linker, Module, component};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

/// The package's file.
pub(crate) const FILE: &str = "bootstrap.wasm";
/// What a WASI command starts with.
const START: &str = "_start";
/// Longest reason that is told.
const REASON_MAX: usize = 600;

/// Ready to make instances.
pub(crate) struct Program {
    pub(crate) kind: Kind,
    /// Whether it can use files at all.
    pub(crate) files: bool,
}

/// The two forms.
pub(crate) enum Kind {
    /// A component that exports `wasi:http/incoming-handler`.
    Component(ProxyPre<State>),
    /// A core module for WASI preview 1.
    Module(InstancePre<ModuleState>),
}

/// The forms as the first bytes tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Component,
    Module,
}

impl Form {
    /// By the header: magic, then version and layer. Source: the component model's binary format.
    pub(crate) fn of(bytes: &[u8]) -> Result<Form, String> {
        match bytes.first_chunk::<8>() {
            Some(b"\0asm\x01\0\0\0") => Ok(Form::Module),
            Some([b'\0', b'a', b's', b'm', _, _, 1, 0]) => Ok(Form::Component),
            Some(_) | None => Err("it is not a WebAssembly module or component in binary format".to_owned()),
        }
    }
}

/// Machine code of `bytes` as the engine stores it. Takes seconds for programs of megabytes.
pub(crate) fn compile(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let compiled = match Form::of(bytes)? {
        Form::Component => engine.precompile_component(bytes),
        Form::Module => engine.precompile_module(bytes),
    };
    compiled.map_err(|error| told(&error))
}

impl Program {
    /// Of a component; errors say what it lacks or wants too much.
    pub(crate) fn component(engine: &Engine, component: &component::Component) -> Result<Program, String> {
        let mut linker = component::Linker::<State>::new(engine);
        let linked = wasmtime_wasi::p2::add_to_linker_async(&mut linker)
            .and_then(|()| wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker));
        linked.map_err(|error| told(&error))?;
        let shape = component.component_type();
        let handler = |name: &str| name.starts_with("wasi:http/incoming-handler@0.2.");
        if !shape.exports(engine).any(|(name, _)| handler(name)) {
            return Err("the component does not export wasi:http/incoming-handler of version 0.2".to_owned());
        }
        let files = shape.imports(engine).any(|(name, _)| name.starts_with("wasi:filesystem/"));
        let pre = linker.instantiate_pre(component).and_then(ProxyPre::new);
        Ok(Program { kind: Kind::Component(pre.map_err(|error| told(&error))?), files })
    }

    /// Of a module.
    pub(crate) fn module(engine: &Engine, module: &Module) -> Result<Program, String> {
        let mut linker = Linker::<ModuleState>::new(engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state: &mut ModuleState| &mut state.wasi)
            .map_err(|error| told(&error))?;
        if module.get_export(START).is_none_or(|export| export.func().is_none()) {
            return Err(format!("the module does not export a function {START}"));
        }
        let files = module.imports().any(|import| import.name().starts_with("path_"));
        let pre = linker.instantiate_pre(module).map_err(|error| told(&error))?;
        Ok(Program { kind: Kind::Module(pre), files })
    }
}

/// An error with its causes, on one line, shortened.
pub(crate) fn told(error: &wasmtime::Error) -> String {
    let mut text = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
    if text.len() > REASON_MAX {
        let end = (0..=REASON_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_by_the_header() {
        assert_eq!(Form::of(b"\0asm\x01\0\0\0rest"), Ok(Form::Module));
        assert_eq!(Form::of(b"\0asm\x0d\0\x01\0"), Ok(Form::Component));
        assert!(Form::of(b"\0asm").is_err() && Form::of(b"#!/bin/sh\n").is_err() && Form::of(b"").is_err());
    }
}
