//! `neap logs`: what a function logs, from the CloudWatch Logs API.

use super::{Ending, client};
use crate::{
    args,
    client::{
        Client,
        logs::{Event, Follower},
        now,
    },
    error::Error,
    output::{Output, Paint},
};
use std::time::Duration;

/// Pause between two looks while following.
pub(crate) const FOLLOW_PAUSE: Duration = Duration::from_millis(300);

/// Runs the command.
pub(crate) async fn run(arguments: args::Logs, output: Output) -> Result<Ending, Error> {
    let client = client(&arguments.connection)?;
    let from = since(&arguments.since, now().0)?;
    let mut follower = Follower::new(group(&arguments.name), from, arguments.filter);
    if arguments.follow {
        return follow(&client, &mut follower, output).await;
    }
    let events = follower.next(&client).await?;
    if events.is_empty() && !output.json {
        output.note(&format!("nothing logged since {}; go further back with --since", arguments.since));
    }
    events.iter().for_each(|event| print(event, output));
    Ok(Ending::Success)
}

/// Prints until interrupted; a group that does not exist yet is waited for.
async fn follow(client: &Client, follower: &mut Follower, output: Output) -> Result<Ending, Error> {
    let mut told = false;
    loop {
        match follower.next(client).await {
            Ok(events) => events.iter().for_each(|event| print(event, output)),
            Err(error) if error.is_not_found() => {
                if !std::mem::replace(&mut told, true) {
                    output.note("waiting for the first log line");
                }
            }
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
}

/// The log group of a function, by name or ARN; a name that begins with a slash is a group itself.
pub(crate) fn group(name: &str) -> String {
    if name.starts_with('/') {
        return name.to_owned();
    }
    let name = match name.split_once(":function:") {
        Some((_, rest)) => rest.split(':').next().unwrap_or(rest),
        None => name,
    };
    format!("/aws/lambda/{name}")
}

fn print(event: &Event, output: Output) {
    if output.json {
        // One document a line: a stream of events can be read as it comes.
        if let Ok(line) = serde_json::to_string(event) {
            output.line(&line);
        }
    } else {
        output.line(&format!(
            "{}  {}",
            output.paint().dim(&clock(event.timestamp)),
            line(event, output.paint())
        ));
    }
}

/// The message in the colour of its kind: the platform's own lines recede, errors stand out.
pub(crate) fn line(event: &Event, paint: Paint) -> String {
    let text = event.message.trim_end();
    let platform = ["START RequestId:", "END RequestId:", "REPORT RequestId:", "INIT_START "];
    if platform.iter().any(|start| text.starts_with(start)) {
        paint.dim(text)
    } else if text.starts_with("[ERROR]") || text.contains("\tERROR\t") || text.contains("Task timed out") {
        paint.red(text)
    } else {
        text.to_owned()
    }
}

/// UTC time of day with milliseconds, after the date.
fn clock(at_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(at_ms) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        Err(_) => at_ms.to_string(),
    }
}

/// Milliseconds since the epoch of `90s`, `10m`, `2h`, `1d` before `now`, or of a time in RFC 3339.
fn since(text: &str, now: i64) -> Result<i64, Error> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let unit = match text.chars().last() {
        Some('s') => 1_000,
        Some('m') => 60_000,
        Some('h') => 3_600_000,
        Some('d') => 86_400_000,
        _ => 0,
    };
    let count = text.get(..text.len().saturating_sub(1)).and_then(|digits| digits.parse::<u32>().ok());
    match count {
        Some(count) if unit > 0 => Ok(now.saturating_sub(i64::from(count).saturating_mul(unit)).max(0)),
        _ => Err(Error::Setting {
            name: "--since",
            value: text.to_owned(),
            reason: "a span such as 90s, 10m, 2h or 1d, or a time such as 2026-01-31T12:00:00Z, is expected"
                .into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times_are_read() {
        let now = 1_000_000_000;
        assert_eq!(since("90s", now).unwrap(), now - 90_000);
        assert_eq!(since("10m", now).unwrap(), now - 600_000);
        assert_eq!(since("2h", now).unwrap(), now - 7_200_000);
        assert_eq!(since("4000000000d", now).unwrap(), 0);
        assert_eq!(since("1970-01-01T00:00:01Z", now).unwrap(), 1_000);
        for bad in ["", "m", "10", "-1m", "1.5h", "tomorrow", "10µ"] {
            assert!(since(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_arns_and_groups_lead_to_the_same_group() {
        assert_eq!(group("hello"), "/aws/lambda/hello");
        assert_eq!(group("arn:aws:lambda:us-east-1:000000000000:function:hello:1"), "/aws/lambda/hello");
        assert_eq!(group("/own/group"), "/own/group");
    }

    #[test]
    fn times_are_printed_in_utc() {
        assert_eq!(clock(1_000), "1970-01-01 00:00:01.000");
    }
}
