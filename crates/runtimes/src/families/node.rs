//! `nodejs*.x`: interpreters of the host with our boot program.

use super::{Family, Files, Plan, Waiting, newer_serves, unavailable};
use crate::{
    host::{Interpreter, Prober, newest_of_each},
    libraries::Library,
};
use base::{MemoryMib, RuntimeRefused, RuntimeSupport};
use sandbox::{Attachment, TemplateLink};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

const BOOT: &str = include_str!("../../boot/node/bootstrap.cjs");
const PROGRAM: &str = "/var/lang/bin/node";

/// Clients of the JavaScript SDK: name, version for Node.js 20 and later, last version for Node.js 18.
const CLIENTS: [(&str, &str, &str); 26] = [
    ("client-apigatewaymanagementapi", "3.1169.0", "3.966.0"),
    ("client-bedrock-runtime", "3.1163.0", "3.966.0"),
    ("client-cloudformation", "3.1169.0", "3.966.0"),
    ("client-cloudwatch", "3.1162.0", "3.966.0"),
    ("client-cloudwatch-logs", "3.1169.0", "3.966.0"),
    ("client-cognito-identity-provider", "3.1169.0", "3.966.0"),
    ("client-dynamodb", "3.1162.0", "3.966.0"),
    ("client-eventbridge", "3.1169.0", "3.966.0"),
    ("client-firehose", "3.1169.0", "3.965.0"),
    ("client-iam", "3.1169.0", "3.966.0"),
    ("client-kinesis", "3.1143.0", "3.965.0"),
    ("client-kms", "3.1162.0", "3.966.0"),
    ("client-lambda", "3.1162.0", "3.966.0"),
    ("client-s3", "3.1169.0", "3.966.0"),
    ("client-scheduler", "3.1169.0", "3.965.0"),
    ("client-secrets-manager", "3.1162.0", "3.966.0"),
    ("client-ses", "3.1169.0", "3.966.0"),
    ("client-sfn", "3.1162.0", "3.966.0"),
    ("client-sns", "3.1169.0", "3.966.0"),
    ("client-sqs", "3.1169.0", "3.966.0"),
    ("client-ssm", "3.1169.0", "3.966.0"),
    ("client-sts", "3.1169.0", "3.966.0"),
    ("client-xray", "3.1169.0", "3.962.0"),
    ("lib-dynamodb", "3.1162.0", "3.966.0"),
    ("s3-request-presigner", "3.1162.0", "3.966.0"),
    ("util-dynamodb", "3.996.9", "3.966.0"),
];
/// Names the set of versions above: change it with them.
const CLIENTS_SET: &str = "3.1169.0";
const CLIENTS_SET_18: &str = "3.966.0";

pub(super) struct Node {
    /// Oldest first, one per major version.
    interpreters: Vec<Interpreter>,
}

impl Node {
    pub(super) fn find(prober: &mut Prober, search: &[PathBuf]) -> Node {
        let mut found = prober.find(search, |name| matches!(name, "node" | "nodejs"), &["--version"]);
        found.retain(|one| one.version.major >= 18);
        Node { interpreters: newest_of_each(found, |a, b| a.major == b.major) }
    }

    /// The interpreter of the named version, or else of the next newer one.
    fn choose(&self, runtime: &str) -> Option<(&Interpreter, bool)> {
        let major: u32 = runtime.strip_prefix("nodejs")?.strip_suffix(".x")?.parse().ok()?;
        let chosen = self.interpreters.iter().find(|one| one.version.major >= major)?;
        Some((chosen, chosen.version.major == major))
    }
}

impl Family for Node {
    fn identifiers(&self) -> &'static [&'static str] {
        &["nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x"]
    }

    fn check(&self, runtime: &str, _architecture: &str) -> Result<RuntimeSupport, RuntimeRefused> {
        let Some((chosen, exact)) = self.choose(runtime) else {
            let newest = self.interpreters.last().map_or_else(
                || "no Node.js was found".to_owned(),
                |newest| format!("the newest Node.js found is {}", newest.version),
            );
            return Err(unavailable(
                runtime,
                format!("{newest}; install this version or a newer one and restart"),
            ));
        };
        let actual = format!("Node.js {}", chosen.version);
        Ok(RuntimeSupport { warning: (!exact).then(|| newer_serves(runtime, &actual)), actual })
    }

    fn plan(&self, runtime: &str, files: &Files) -> io::Result<Plan> {
        let (interpreter, _) = self.choose(runtime).ok_or(io::ErrorKind::NotFound)?;
        let major = interpreter.version.major;
        let mut template =
            files.system(&format!("nodejs{major}"), std::slice::from_ref(&interpreter.executable))?;
        template.binds.push(Attachment::new(&interpreter.executable, PROGRAM));
        let boot = files.write_boot(&boot_name(), "bootstrap.cjs", BOOT.as_bytes(), "node_modules")?;
        for empty in ["empty.js", "empty.mjs"] {
            // For what waits to load.
            files.write_boot(&boot_name(), empty, b"", "node_modules")?;
        }
        template.binds.push(Attachment::new(boot, "/var/runtime"));
        if let Some(library) = &files.library {
            template.binds.push(Attachment::new(library, "/var/runtime/node_modules"));
        }
        // ES modules do not look at NODE_PATH, but in every parent of their own folder.
        template.links.push(TemplateLink {
            inside: "/node_modules".into(),
            target: "/var/runtime/node_modules".into(),
        });
        Ok(Plan {
            template,
            argv: vec![
                PROGRAM.into(),
                "--max-http-header-size=81920".into(),
                "/var/runtime/bootstrap.cjs".into(),
            ],
            memory_argument: Some(heap),
            waiting: Some(Waiting::Booted { acts_at_start }),
            variables: vec![(
                "NODE_PATH",
                format!(
                    "/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
                ),
            )],
            frames: true,
            bytecode: None,
            jvm: None,
            managed: true,
            forking: None,
            version: format!("nodejs:{}", interpreter.version),
        })
    }

    fn library(&self, runtime: &str) -> Option<Library> {
        let (interpreter, _) = self.choose(runtime)?;
        let old = interpreter.version.major < 20;
        let dependencies: Vec<String> = CLIENTS
            .iter()
            .map(|(name, new, last)| format!("    \"@aws-sdk/{name}\": \"{}\"", if old { last } else { new }))
            .collect();
        let set = if old { CLIENTS_SET_18 } else { CLIENTS_SET };
        let manifest = format!(
            "{{\n  \"private\": true,\n  \"dependencies\": {{\n{}\n  }}\n}}\n",
            dependencies.join(",\n")
        );
        let mut command: Vec<OsString> = installer(&interpreter.executable);
        command.extend(
            [
                "install",
                "--omit=dev",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--no-update-notifier",
                "--loglevel=error",
            ]
            .map(OsString::from),
        );
        Some(Library {
            name: format!("node-aws-sdk-{set}"),
            what: format!("@aws-sdk clients {set}"),
            command,
            files: vec![("package.json", manifest)],
            result: "node_modules".into(),
            after: Vec::new(),
        })
    }
}

/// V8 does not see the memory limit of the sandbox: without this it collects garbage too late. Lambda leaves as much for
/// what is not heap.
fn heap(memory: MemoryMib) -> OsString {
    format!("--max-old-space-size={}", (u64::from(memory.0) * 9 / 10).max(64)).into()
}

/// Variables that Node.js, its libraries or the C library read when a process starts, so that one that waits has them too
/// late. Source: node(1), OpenSSL's and glibc's manuals.
fn acts_at_start(name: &str) -> bool {
    // Read when they are first needed, or, as the path of modules, taken over by the boot program.
    const LATER: [&str; 2] = ["NODE_ENV", "NODE_PATH"];
    const PREFIXES: [&str; 8] = [
        "NODE_",     // options, certificates, debugging, warnings, compile cache …
        "UV_",       // threads, and the event loop's use of io_uring
        "LD_",       // the dynamic linker
        "LC_",       // the locale of Intl
        "MALLOC_",   // the allocator
        "OPENSSL_",  // configuration, modules, processor features
        "SSL_CERT_", // certificates
        "ICU_",      // time zones and other data
    ];
    const NAMES: [&str; 8] = [
        "GLIBC_TUNABLES",
        "GCONV_PATH",
        "HOSTALIASES",
        "LANG",
        "LANGUAGE",
        "LOCALDOMAIN",
        "LOCPATH",
        "RES_OPTIONS",
    ];
    !LATER.contains(&name)
        && (PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name))
}

/// npm beside the interpreter, run by it; else whichever `npm` is found.
fn installer(node: &Path) -> Vec<OsString> {
    match node.parent().map(|folder| folder.join("npm")).filter(|npm| npm.exists()) {
        Some(npm) => vec![node.into(), npm.into()],
        None => vec!["npm".into()],
    }
}

fn boot_name() -> String {
    use sha2::{Digest, Sha256};
    let digest: String =
        Sha256::digest(BOOT.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("node-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_cannot_wait_are_known() {
        for name in
            ["NODE_OPTIONS", "NODE_EXTRA_CA_CERTS", "LD_PRELOAD", "LC_ALL", "UV_THREADPOOL_SIZE", "LANG"]
        {
            assert!(acts_at_start(name), "{name}");
        }
        for name in ["NODE_ENV", "NODE_PATH", "TZ", "PATH", "HOME", "LANGUAGES", "AWS_REGION"] {
            assert!(!acts_at_start(name), "{name}");
        }
    }
}
