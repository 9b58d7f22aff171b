//! Where the node is, who we are, and where things are kept: resolved once from arguments, environment and files.

use crate::{args::Connection, error::Error};
use base::Region;
use serde::Deserialize;
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Endpoint when neither argument, environment nor profile names one.
pub(crate) const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:4566";
/// Region when nothing names one.
const REGION_DEFAULT: &str = "us-east-1";

/// What the outside offers: variables, files, and who runs us. A port, so that tests own it.
pub(crate) trait Surroundings {
    /// An environment variable that is set and not empty.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a file.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// Whether this process is root.
    fn root(&self) -> bool;
}

/// The process's own surroundings.
#[derive(Debug)]
pub(crate) struct Process;

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }
    fn root(&self) -> bool {
        // The owner of /proc/self is the effective user.
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
    }
}

/// The folder in which a node keeps everything, unless told otherwise: `/var/lib/neap` for root, else
/// `$XDG_DATA_HOME/neap`, else `~/.local/share/neap`.
pub(crate) fn data_folder(given: Option<&Path>, around: &dyn Surroundings) -> PathBuf {
    if let Some(folder) = given {
        return folder.to_owned();
    }
    if around.root() {
        return PathBuf::from("/var/lib/neap");
    }
    user_folder(around, "XDG_DATA_HOME", ".local/share")
}

/// The folder of what can be made again, such as installed dependencies: `$XDG_CACHE_HOME/neap`, else `~/.cache/neap`.
pub(crate) fn cache_folder(around: &dyn Surroundings) -> PathBuf {
    user_folder(around, "XDG_CACHE_HOME", ".cache")
}

fn user_folder(around: &dyn Surroundings, variable: &str, under_home: &str) -> PathBuf {
    let folder = match (around.variable(variable), around.variable("HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => Path::new(&home).join(under_home),
        (None, None) => std::env::temp_dir(),
    };
    folder.join("neap")
}

/// `http://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Name or address, without brackets.
    pub(crate) host: String,
    /// Port; 80 when none is given.
    pub(crate) port: u16,
    /// The `Host` header.
    pub(crate) authority: String,
}

impl Endpoint {
    /// Reads a URL. A path other than `/` is refused, and so is TLS, which Neap does not speak itself.
    pub(crate) fn parse(url: &str) -> Result<Endpoint, Error> {
        let refuse = |reason| Error::Endpoint { url: url.to_owned(), reason };
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err(refuse("TLS is not supported by this command; use http")),
            _ => return Err(refuse("it must begin with http://")),
        };
        let authority = rest.trim_end_matches('/');
        let parsed: http::uri::Authority =
            authority.parse().map_err(|_| refuse("host and port are not readable"))?;
        if authority.contains(['/', '@', '?', '#']) || parsed.host().is_empty() {
            return Err(refuse("it must be a host and a port only"));
        }
        let port = match authority.strip_prefix(parsed.host()) {
            Some("") | None => 80,
            Some(rest) => match rest.strip_prefix(':').and_then(|port| port.parse().ok()) {
                Some(port) => port,
                None => return Err(refuse("the port is not a number up to 65535")),
            },
        };
        let host = parsed.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Endpoint { host, port, authority: authority.to_owned() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

/// An access key with its secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Access key id.
    pub(crate) access_key: String,
    /// Secret access key.
    pub(crate) secret: String,
    /// Session token of short-lived credentials.
    pub(crate) token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.access_key)
    }
}

/// Everything a client command needs to know about its node.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where.
    pub(crate) endpoint: Endpoint,
    /// Which region.
    pub(crate) region: Region,
    /// Who.
    pub(crate) keys: Keys,
}

/// What a node keeps in its credentials file, as far as a client needs it: never the sealing key.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NodeCredentials {
    /// Access key id of the account's owner.
    pub(crate) access_key: String,
    /// Secret access key.
    pub(crate) secret: String,
}

/// Name of that file inside the data folder.
pub(crate) const CREDENTIALS_FILE: &str = "credentials.json";

/// Reads the credentials that a node keeps in its data folder.
pub(crate) fn node_credentials(data: &Path, around: &dyn Surroundings) -> Result<NodeCredentials, Error> {
    let file = data.join(CREDENTIALS_FILE);
    let unreadable = |reason: String| Error::NoCredentials { file: file.clone(), reason };
    let text = around.read(&file).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))
}

/// Resolves the settings of a client command. In order of precedence:
/// credentials: `AWS_ACCESS_KEY_ID`…, the profile named by `--profile` or `AWS_PROFILE`, the data folder, and a
/// placeholder that only `neap dev` accepts;
/// region: `--region`, `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile, `us-east-1`;
/// endpoint: `--endpoint-url` or `AWS_ENDPOINT_URL`, the profile, `http://127.0.0.1:4566`.
pub(crate) fn resolve(connection: &Connection, around: &dyn Surroundings) -> Result<Settings, Error> {
    let profile = match &connection.profile {
        Some(name) => Some(Profile::read(name, around)?),
        None => None,
    };
    let kept = node_credentials(&data_folder(connection.data.as_deref(), around), around).ok();
    let from_profile = |key: &str| profile.as_ref().and_then(|profile| profile.get(key));

    let url = connection
        .endpoint_url
        .clone()
        .filter(|url| !url.is_empty())
        .or_else(|| from_profile("endpoint_url"))
        .unwrap_or_else(|| ENDPOINT_DEFAULT.to_owned());
    let region = connection
        .region
        .clone()
        .or_else(|| around.variable("AWS_REGION"))
        .or_else(|| around.variable("AWS_DEFAULT_REGION"))
        .or_else(|| from_profile("region"))
        .unwrap_or_else(|| REGION_DEFAULT.to_owned());
    let region = region.parse().map_err(|error: base::BadRegion| Error::Setting {
        name: "region",
        value: region,
        reason: error.to_string(),
    })?;

    let keys = if let Some(keys) = variable_keys(around) {
        keys
    } else if let Some(profile) = &profile {
        profile.keys(around)?
    } else if let Some(kept) = kept {
        Keys { access_key: kept.access_key, secret: kept.secret, token: None }
    } else {
        Keys { access_key: "neap".to_owned(), secret: "neap".to_owned(), token: None }
    };
    Ok(Settings { endpoint: Endpoint::parse(&url)?, region, keys })
}

fn variable_keys(around: &dyn Surroundings) -> Option<Keys> {
    Some(Keys {
        access_key: around.variable("AWS_ACCESS_KEY_ID")?,
        secret: around.variable("AWS_SECRET_ACCESS_KEY")?,
        token: around.variable("AWS_SESSION_TOKEN"),
    })
}

/// One profile of the shared AWS files.
struct Profile {
    name: String,
    values: Vec<(String, String)>,
}

impl Profile {
    fn read(name: &str, around: &dyn Surroundings) -> Result<Profile, Error> {
        let mut values = Vec::new();
        if let Ok(text) = around.read(&shared_file(around, "AWS_SHARED_CREDENTIALS_FILE", "credentials")) {
            values.extend(section(&text, name));
        }
        if let Ok(text) = around.read(&shared_file(around, "AWS_CONFIG_FILE", "config")) {
            let header = if name == "default" { name.to_owned() } else { format!("profile {name}") };
            values.extend(section(&text, &header));
        }
        Ok(Profile { name: name.to_owned(), values })
    }

    fn get(&self, key: &str) -> Option<String> {
        self.values.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    fn keys(&self, around: &dyn Surroundings) -> Result<Keys, Error> {
        match (self.get("aws_access_key_id"), self.get("aws_secret_access_key")) {
            (Some(access_key), Some(secret)) => {
                Ok(Keys { access_key, secret, token: self.get("aws_session_token") })
            }
            _ => Err(Error::Profile {
                profile: self.name.clone(),
                file: shared_file(around, "AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            }),
        }
    }
}

fn shared_file(around: &dyn Surroundings, variable: &str, name: &str) -> PathBuf {
    match around.variable(variable) {
        Some(file) => PathBuf::from(file),
        None => Path::new(&around.variable("HOME").unwrap_or_default()).join(".aws").join(name),
    }
}

/// The `key = value` lines of section `[header]` of an INI file; nested (indented) lines are not settings of it.
fn section(text: &str, header: &str) -> Vec<(String, String)> {
    let mut inside = false;
    let mut values = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.split_whitespace().eq(header.split_whitespace());
        } else if inside
            && !trimmed.starts_with(['#', ';'])
            && !line.starts_with([' ', '\t'])
            && let Some((key, value)) = trimmed.split_once('=')
        {
            values.push((key.trim().to_lowercase(), value.trim().to_owned()));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Fake {
        variables: BTreeMap<&'static str, &'static str>,
        files: BTreeMap<&'static str, &'static str>,
        root: bool,
    }

    impl Surroundings for Fake {
        fn variable(&self, name: &str) -> Option<String> {
            self.variables.get(name).map(|value| (*value).to_owned())
        }
        fn read(&self, path: &Path) -> io::Result<String> {
            let text = path.to_str().and_then(|path| self.files.get(path));
            text.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }
        fn root(&self) -> bool {
            self.root
        }
    }

    const KEPT: (&str, &str) = (
        "/home/u/.local/share/neap/credentials.json",
        r#"{"format": 1, "account": "000000000000", "access_key": "AKIAKEPT", "secret": "kept", "sealing_key": "00"}"#,
    );

    #[test]
    fn the_environment_comes_before_the_data_folder() {
        let around = Fake {
            variables: [
                ("HOME", "/home/u"),
                ("AWS_ACCESS_KEY_ID", "A"),
                ("AWS_SECRET_ACCESS_KEY", "s"),
                ("AWS_REGION", "xx-1"),
            ]
            .into(),
            files: [KEPT].into(),
            ..Fake::default()
        };
        let settings = resolve(&Connection::default(), &around).unwrap();
        assert_eq!(settings.keys, Keys { access_key: "A".into(), secret: "s".into(), token: None });
        assert_eq!(settings.region.as_str(), "xx-1");
        assert_eq!(settings.endpoint.to_string(), ENDPOINT_DEFAULT);
    }

    #[test]
    fn the_data_folder_serves_when_the_environment_is_silent() {
        let around =
            Fake { variables: [("HOME", "/home/u")].into(), files: [KEPT].into(), ..Fake::default() };
        let settings = resolve(&Connection::default(), &around).unwrap();
        assert_eq!(settings.keys, Keys { access_key: "AKIAKEPT".into(), secret: "kept".into(), token: None });
        assert_eq!(settings.region.as_str(), "us-east-1");
    }

    #[test]
    fn a_profile_gives_keys_region_and_endpoint() {
        let around = Fake {
            variables: [("HOME", "/home/u")].into(),
            files: [
                KEPT,
                ("/home/u/.aws/credentials", "[default]\naws_access_key_id=no\n[ dev ]\n# a comment\naws_access_key_id = P\naws_secret_access_key = p=q\n"),
                ("/home/u/.aws/config", "[profile dev]\nregion = eu-north-1\nendpoint_url = http://10.0.0.1:4566\ns3 =\n  region = no\n"),
            ].into(),
            ..Fake::default()
        };
        let connection = Connection { profile: Some("dev".into()), ..Connection::default() };
        let settings = resolve(&connection, &around).unwrap();
        assert_eq!(settings.keys, Keys { access_key: "P".into(), secret: "p=q".into(), token: None });
        assert_eq!(settings.region.as_str(), "eu-north-1");
        assert_eq!(settings.endpoint.to_string(), "http://10.0.0.1:4566");
        let missing = Connection { profile: Some("absent".into()), ..Connection::default() };
        assert!(matches!(resolve(&missing, &around), Err(Error::Profile { .. })));
    }

    #[test]
    fn without_any_credentials_a_placeholder_serves() {
        let around = Fake { variables: [("HOME", "/home/u")].into(), ..Fake::default() };
        assert_eq!(resolve(&Connection::default(), &around).unwrap().keys.access_key, "neap");
    }

    #[test]
    fn data_is_kept_in_the_place_of_its_owner() {
        let user = Fake { variables: [("HOME", "/home/u")].into(), ..Fake::default() };
        assert_eq!(data_folder(None, &user), Path::new("/home/u/.local/share/neap"));
        let xdg =
            Fake { variables: [("HOME", "/home/u"), ("XDG_DATA_HOME", "/d")].into(), ..Fake::default() };
        assert_eq!(data_folder(None, &xdg), Path::new("/d/neap"));
        let root = Fake { root: true, ..Fake::default() };
        assert_eq!(data_folder(None, &root), Path::new("/var/lib/neap"));
        assert_eq!(data_folder(Some(Path::new("/x")), &root), Path::new("/x"));
    }

    #[test]
    fn endpoints_are_a_host_and_a_port() {
        let ok = Endpoint::parse("http://[::1]:4566/").unwrap();
        assert_eq!((ok.host.as_str(), ok.port, ok.authority.as_str()), ("::1", 4566, "[::1]:4566"));
        assert_eq!(Endpoint::parse("http://neap.example").unwrap().port, 80);
        for bad in ["https://x:1", "x:1", "http://", "http://a/b", "http://u@h", "http://h:99999"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
