//! The credentials file: all that identity keeps. It has no SQL.

use crate::{
    error::OpenError,
    logic,
    model::{Kept, RootCredentials},
};
use base::{AccountId, Entropy};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

const FILE: &str = "credentials.json";
const FORMAT: u32 = 1;
/// A credentials file is some hundred bytes; more is not one.
const BYTES_MAX: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    account: AccountId,
    access_key: String,
    secret: String,
    /// 64 hexadecimal digits.
    sealing_key: String,
}

/// Reads the credentials in `folder`, or makes and keeps new ones.
pub(crate) fn load_or_create(folder: &Path, entropy: &dyn Entropy) -> Result<Kept, OpenError> {
    let path = folder.join(FILE);
    match File::open(&path) {
        Ok(file) => read(file, &path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let kept = logic::new_credentials(entropy);
            write(folder, &kept).map_err(|source| OpenError::Io { path, source })?;
            Ok(kept)
        }
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

fn read(file: File, path: &Path) -> Result<Kept, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let invalid = |reason: String| OpenError::Invalid { path: path.to_owned(), reason };
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(OpenError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(io)?;
    let document: Document = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    if document.format != FORMAT {
        return Err(invalid(format!("format {} instead of {FORMAT}", document.format)));
    }
    if !logic::is_access_key(&document.access_key) || document.secret.len() != logic::SECRET_CHARS {
        return Err(invalid("access key or secret has the wrong form".to_owned()));
    }
    let mut sealing_key = [0; 32];
    hex::decode_to_slice(&document.sealing_key, &mut sealing_key)
        .map_err(|error| invalid(format!("sealing key: {error}")))?;
    Ok(Kept {
        root: RootCredentials {
            account: document.account,
            access_key: document.access_key,
            secret: document.secret,
        },
        sealing_key,
    })
}

/// Temporary file, fsync, rename, fsync of the folder: after a crash there is either no file or a whole one.
fn write(folder: &Path, kept: &Kept) -> io::Result<()> {
    let document = Document {
        format: FORMAT,
        account: kept.root.account,
        access_key: kept.root.access_key.clone(),
        secret: kept.root.secret.clone(),
        sealing_key: hex::encode(kept.sealing_key),
    };
    let temporary = folder.join("credentials.json.new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    // The umask may have taken bits away; nothing adds any.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}
