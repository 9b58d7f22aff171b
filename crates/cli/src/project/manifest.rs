//! `neap.toml`: settings of a function beside its source.

use super::Error;
use base::{FunctionName, MemoryMib, Seconds, limits};
use serde::Deserialize;
use std::{collections::BTreeMap, io, ops::RangeInclusive, path::Path};

/// Name of the settings file.
pub(crate) const MANIFEST_FILE: &str = "neap.toml";

/// Settings of a function. What is absent is detected (name, runtime, handler) or left to the platform's default at
/// creation and unchanged at an update.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Function name.
    pub(crate) name: Option<FunctionName>,
    /// Shown in listings.
    pub(crate) description: Option<String>,
    /// Runtime identifier.
    pub(crate) runtime: Option<String>,
    /// Entry point.
    pub(crate) handler: Option<String>,
    /// Memory in MB, 128 to 10,240.
    pub(crate) memory: Option<MemoryMib>,
    /// Longest run time of one invocation in seconds, 1 to 900.
    pub(crate) timeout: Option<Seconds>,
    /// Size of `/tmp` in MB, 512 to 10,240.
    pub(crate) scratch: Option<MemoryMib>,
    /// ARN of the role that the function runs as.
    pub(crate) role: Option<String>,
    /// Which program of a Cargo project is the function.
    pub(crate) binary: Option<String>,
    /// Environment variables.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// Files and folders left out of the package besides the usual ones: names, or paths with a slash; `*` stands for
    /// any characters but slashes.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
}

impl Manifest {
    /// Reads the file in `folder`; empty when there is none.
    pub(crate) fn load(folder: &Path) -> Result<Manifest, Error> {
        let file = folder.join(MANIFEST_FILE);
        match std::fs::read_to_string(&file) {
            Ok(text) => toml::from_str(&text)
                .map_err(|error| Error::Manifest { file, reason: error.to_string().trim_end().to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Manifest::default()),
            Err(source) => Err(Error::File { file, source }),
        }
    }

    /// These settings with those present in `other` put in their place; variables and exclusions are joined.
    pub(crate) fn overridden_by(mut self, other: &Manifest) -> Manifest {
        let Manifest {
            name,
            description,
            runtime,
            handler,
            memory,
            timeout,
            scratch,
            role,
            binary,
            environment,
            exclude,
        } = other.clone();
        self.environment.extend(environment);
        self.exclude.extend(exclude);
        Manifest {
            name: name.or(self.name),
            description: description.or(self.description),
            runtime: runtime.or(self.runtime),
            handler: handler.or(self.handler),
            memory: memory.or(self.memory),
            timeout: timeout.or(self.timeout),
            scratch: scratch.or(self.scratch),
            role: role.or(self.role),
            binary: binary.or(self.binary),
            environment: self.environment,
            exclude: self.exclude,
        }
    }

    /// Checks quantities against the platform's limits.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_range("memory", self.memory.map(|memory| memory.0), megabytes(limits::MEMORY))?;
        check_range("scratch", self.scratch.map(|scratch| scratch.0), megabytes(limits::SCRATCH))?;
        let (shortest, longest) = limits::TIMEOUT.into_inner();
        check_range("timeout", self.timeout.map(|timeout| timeout.0), shortest.0..=longest.0)
    }
}

fn megabytes(range: RangeInclusive<MemoryMib>) -> RangeInclusive<u32> {
    let (min, max) = range.into_inner();
    min.0..=max.0
}

fn check_range(setting: &'static str, value: Option<u32>, range: RangeInclusive<u32>) -> Result<(), Error> {
    match value {
        Some(got) if !range.contains(&got) => {
            Err(Error::OutOfRange { setting, got, min: *range.start(), max: *range.end() })
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Manifest, Error> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MANIFEST_FILE), text).unwrap();
        Manifest::load(folder.path())
    }

    #[test]
    fn every_setting_is_read() {
        let manifest = load(
            "name = 'a'\ndescription = 'd'\nruntime = 'python3.12'\nhandler = 'x.y'\nmemory = 256\ntimeout = 9\n\
             scratch = 1024\nrole = 'arn:aws:iam::000000000000:role/r'\nbinary = 'b'\nexclude = ['*.md']\n\
             [environment]\nA = '1'\n",
        )
        .unwrap();
        assert_eq!(manifest.memory, Some(MemoryMib(256)));
        assert_eq!(manifest.timeout, Some(Seconds(9)));
        assert_eq!(manifest.environment["A"], "1");
        manifest.check().unwrap();
    }

    #[test]
    fn unknown_settings_and_wrong_types_are_errors() {
        for bad in ["memroy = 1", "memory = '128'", "name = 'a b'", "[environment]\nA = 1", "exclude = 'x'"] {
            assert!(matches!(load(bad), Err(Error::Manifest { .. })), "{bad}");
        }
    }

    #[test]
    fn quantities_outside_their_limits_are_errors() {
        for bad in ["memory = 127", "memory = 10241", "timeout = 0", "timeout = 901", "scratch = 511"] {
            assert!(matches!(load(bad).unwrap().check(), Err(Error::OutOfRange { .. })), "{bad}");
        }
    }

    #[test]
    fn a_missing_file_is_no_settings() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::load(folder.path()).unwrap(), Manifest::default());
    }

    #[test]
    fn arguments_come_before_the_file() {
        let file = load("name = 'a'\nmemory = 256\n[environment]\nA = '1'\nB = '2'\n").unwrap();
        let arguments = Manifest {
            name: Some("b".parse().unwrap()),
            environment: [("B".into(), "3".into())].into(),
            ..Manifest::default()
        };
        let both = file.overridden_by(&arguments);
        assert_eq!(both.name.unwrap().as_str(), "b");
        assert_eq!(both.memory, Some(MemoryMib(256)));
        assert_eq!(both.environment, [("A".into(), "1".into()), ("B".into(), "3".into())].into());
    }
}
