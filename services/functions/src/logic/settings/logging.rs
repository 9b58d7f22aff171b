//! `LoggingConfig`: from what a request wants to log settings, and back to how answers show them.

use super::words;
use crate::Error;
use base::{ApplicationLogLevel, LogFormat, LogSettings, SystemLogLevel};
use serde::{Deserialize, Serialize};
use wire::Violations;

/// `LoggingConfig`.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoggingConfig {
    /// `Text` or `JSON`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,
    /// With `JSON` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_log_level: Option<String>,
    /// With `JSON` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_log_level: Option<String>,
    /// Log group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_group: Option<String>,
}

/// What the API model demands of its members.
pub(super) fn check(logging: &LoggingConfig, violations: &mut Violations) {
    words(violations, "loggingConfig.logFormat", logging.log_format.as_deref(), &["JSON", "Text"]);
    words(
        violations,
        "loggingConfig.applicationLogLevel",
        logging.application_log_level.as_deref(),
        &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"],
    );
    words(
        violations,
        "loggingConfig.systemLogLevel",
        logging.system_log_level.as_deref(),
        &["DEBUG", "INFO", "WARN"],
    );
    if let Some(group) = &logging.log_group {
        violations.length("loggingConfig.logGroup", group, 1..=512);
        let fits =
            group.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b'#'));
        violations.pattern("loggingConfig.logGroup", group, r"[\.\-_/#A-Za-z0-9]+", fits);
    }
}

/// `current` with what is wanted changed.
pub(super) fn changed(current: &LogSettings, wanted: &LoggingConfig) -> Result<LogSettings, Error> {
    let json = match wanted.log_format.as_deref() {
        Some(format) => format == "JSON",
        None => matches!(current.format, LogFormat::Json { .. }),
    };
    let levels = wanted.application_log_level.is_some() || wanted.system_log_level.is_some();
    if levels && !json {
        return Err(Error::invalid(
            "ApplicationLogLevel and SystemLogLevel can only be set when LogFormat is JSON.",
        ));
    }
    let (application, system) = match current.format {
        LogFormat::Json { application, system } => (application, system),
        LogFormat::Text => (ApplicationLogLevel::Info, SystemLogLevel::Info),
    };
    let format = match json {
        true => LogFormat::Json {
            application: wanted
                .application_log_level
                .as_deref()
                .and_then(application_level)
                .unwrap_or(application),
            system: wanted.system_log_level.as_deref().and_then(system_level).unwrap_or(system),
        },
        false => LogFormat::Text,
    };
    Ok(LogSettings { group: wanted.log_group.clone().unwrap_or_else(|| current.group.clone()), format })
}

fn application_level(word: &str) -> Option<ApplicationLogLevel> {
    Some(match word {
        "TRACE" => ApplicationLogLevel::Trace,
        "DEBUG" => ApplicationLogLevel::Debug,
        "INFO" => ApplicationLogLevel::Info,
        "WARN" => ApplicationLogLevel::Warn,
        "ERROR" => ApplicationLogLevel::Error,
        "FATAL" => ApplicationLogLevel::Fatal,
        _ => return None,
    })
}

fn system_level(word: &str) -> Option<SystemLogLevel> {
    Some(match word {
        "DEBUG" => SystemLogLevel::Debug,
        "INFO" => SystemLogLevel::Info,
        "WARN" => SystemLogLevel::Warn,
        _ => return None,
    })
}

/// `LoggingConfig` as answers show it.
pub fn shown_logs(logs: &LogSettings) -> LoggingConfig {
    let (format, application, system) = match logs.format {
        LogFormat::Text => ("Text", None, None),
        LogFormat::Json { application, system } => {
            let application = match application {
                ApplicationLogLevel::Trace => "TRACE",
                ApplicationLogLevel::Debug => "DEBUG",
                ApplicationLogLevel::Info => "INFO",
                ApplicationLogLevel::Warn => "WARN",
                ApplicationLogLevel::Error => "ERROR",
                ApplicationLogLevel::Fatal => "FATAL",
            };
            let system = match system {
                SystemLogLevel::Debug => "DEBUG",
                SystemLogLevel::Info => "INFO",
                SystemLogLevel::Warn => "WARN",
            };
            ("JSON", Some(application.to_owned()), Some(system.to_owned()))
        }
    };
    LoggingConfig {
        log_format: Some(format.to_owned()),
        application_log_level: application,
        system_log_level: system,
        log_group: Some(logs.group.clone()),
    }
}
