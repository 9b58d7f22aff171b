//! `neap tune`: runs a function at several memory sizes, on a temporary copy, and shows cost against latency.

mod copy;
mod measure;
mod show;

use super::{Ending, client, cost, invoke::payload};
use crate::{
    args,
    client::{Client, functions::Mode},
    error::Error,
    output::{Output, Progress},
};
use base::MemoryMib;
use bytes::Bytes;
use copy::Copy;
use measure::{Point, Sample};
use tokio::signal::unix::{SignalKind, signal};

/// Runs the command. The copy is removed however it ends, short of SIGKILL.
pub(crate) async fn run(arguments: args::Tune, output: Output) -> Result<Ending, Error> {
    let client = client(&arguments.connection)?;
    let event = payload(&arguments.payload)?;
    let mut sizes = arguments.memory.clone();
    sizes.sort_unstable();
    sizes.dedup();
    let Some(first) = sizes.first().copied() else { return Ok(Ending::Success) };
    // Signals that come from here on wait until they are listened for: the copy is either wholly made and removed, or not made.
    let failed = |source| Error::System { what: "signals", source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let progress = Progress::new(output);
    progress.doing("copying", &arguments.name);
    let copy = Copy::make(&client, &arguments.name, first).await?;
    let measured = tokio::select! {
        measured = measure_all(&client, &copy, &sizes, &event, &arguments, progress) => measured,
        _ = interrupt.recv() => Err(Error::Interrupted),
        _ = terminate.recv() => Err(Error::Interrupted),
        _ = hangup.recv() => Err(Error::Interrupted),
    };
    progress.clear();
    let removed = copy.remove(&client).await;
    let points = measured?;
    removed?;
    if points.iter().all(|point| point.measured.is_none()) {
        let reason = points.iter().find_map(|point| point.failure.clone()).unwrap_or_default();
        return Err(Error::Untunable { name: copy.original, reason });
    }
    if let Some(file) = &arguments.svg {
        let picture = show::svg(&copy.original, &points, arguments.book);
        std::fs::write(file, picture).map_err(|source| Error::Unwritable { file: file.clone(), source })?;
    }
    if output.json {
        output.json_document(&show::document(&copy, arguments.calls, &points, arguments.book));
    } else {
        output.line(&show::report(&copy.original, &points, arguments.book, output.paint()));
    }
    Ok(Ending::Success)
}

async fn measure_all(
    client: &Client,
    copy: &Copy,
    sizes: &[MemoryMib],
    event: &Bytes,
    arguments: &args::Tune,
    progress: Progress,
) -> Result<Vec<Point>, Error> {
    let mut points = Vec::new();
    for memory in sizes {
        progress.doing("measuring", &format!("{} MB", memory.0));
        copy.resize(client, *memory).await?;
        let mut samples = Vec::new();
        // The first call starts the environment.
        for _ in 0..=arguments.calls {
            let invoked = client.invoke(&copy.name, None, Mode::WithTail, event.clone()).await?;
            samples.push(Sample::of(&invoked)?);
        }
        let mut point = Point::of(*memory, &samples);
        if let Some(measured) = &mut point.measured {
            let priced = client.estimate(&measured.workloads(*memory), false, None).await?;
            measured.price(&cost::priced(priced)?, copy.arm).ok_or_else(|| Error::Answer {
                operation: "EstimateCost".to_owned(),
                reason: "a list of prices is missing".to_owned(),
            })?;
        }
        progress.done(&format!("{} MB", memory.0), &show::line(&point, arguments.book));
        points.push(point);
    }
    Ok(points)
}
