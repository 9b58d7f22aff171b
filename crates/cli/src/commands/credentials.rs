//! `neap credentials`: what a client needs to reach the node, from the node's data folder.

use super::Ending;
use crate::{
    args,
    error::Error,
    output::{Output, table},
    settings::{self, Process, Settings, Surroundings},
};
use serde::Serialize;

/// Runs the command. Looks only into the data folder: the point is to learn what the node itself keeps.
pub(crate) fn run(arguments: &args::Credentials, output: Output) -> Result<Ending, Error> {
    let report = report(&arguments.connection, &Process)?;
    if output.json {
        output.json_document(&report);
    } else if arguments.export {
        output.line(&report.export());
    } else {
        output.line(&report.table());
    }
    Ok(Ending::Success)
}

#[derive(Debug, Serialize)]
struct Report {
    access_key: String,
    secret_key: String,
    region: String,
    endpoint: String,
}

fn report(connection: &args::Connection, around: &dyn Surroundings) -> Result<Report, Error> {
    let data = settings::data_folder(connection.data.as_deref(), around);
    let kept = settings::node_credentials(&data, around)?;
    let Settings { endpoint, region, .. } = settings::resolve(connection, around)?;
    Ok(Report {
        access_key: kept.access_key,
        secret_key: kept.secret,
        region: region.to_string(),
        endpoint: endpoint.to_string(),
    })
}

impl Report {
    fn table(&self) -> String {
        let row = |name: &str, value: &str| vec![name.to_owned(), value.to_owned()];
        table(
            &["SETTING", "VALUE"],
            &[],
            vec![
                row("access key", &self.access_key),
                row("secret key", &self.secret_key),
                row("region", &self.region),
                row("endpoint", &self.endpoint),
            ],
        )
    }

    /// Lines for a shell. The values hold no quotes: keys are base 32 and base 64, the others were parsed.
    fn export(&self) -> String {
        format!(
            "export AWS_ACCESS_KEY_ID='{}'\nexport AWS_SECRET_ACCESS_KEY='{}'\nexport AWS_DEFAULT_REGION='{}'\n\
             export AWS_ENDPOINT_URL='{}'\nunset AWS_SESSION_TOKEN AWS_PROFILE",
            self.access_key, self.secret_key, self.region, self.endpoint
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_export_is_complete() {
        let report = Report {
            access_key: "A".into(),
            secret_key: "s/+=".into(),
            region: "us-east-1".into(),
            endpoint: "http://127.0.0.1:4566".into(),
        };
        let text = report.export();
        for line in [
            "export AWS_ACCESS_KEY_ID='A'",
            "export AWS_SECRET_ACCESS_KEY='s/+='",
            "export AWS_ENDPOINT_URL='http://127.0.0.1:4566'",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }
}
