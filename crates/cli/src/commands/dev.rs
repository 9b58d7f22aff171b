//! `neap dev`: a node for development, with folders deployed at start and on every save, and their logs shown.

use super::{
    Ending,
    deploy::{Action, Order, deploy},
    logs, serve,
};
use crate::{
    args::{self, Connection},
    client::{Client, logs::Follower, now},
    error::Error,
    node::Prepared,
    output::{Output, Progress, span},
    project::{self, Exclusions, MANIFEST_FILE, Manifest},
    settings::{self, Process, cache_folder},
};
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Notify, task::JoinSet};

/// Quiet time after a save before the folder is deployed: editors and formatters write several times.
const SETTLE: Duration = Duration::from_millis(120);

/// Runs the command. When the node ends, so does everything else.
pub(crate) async fn run(prepared: Prepared, arguments: args::Dev, output: Output) -> Result<Ending, Error> {
    let folders = arguments.folders.iter().map(|folder| resolved(folder)).collect::<Result<Vec<_>, _>>()?;
    let node = prepared.start().await?;
    serve::announce(&node, output);
    let connection = Connection {
        endpoint_url: Some(format!("http://{}", node.address())),
        data: arguments.node.data,
        ..Connection::default()
    };
    let client = Client::new(settings::resolve(&connection, &Process)?);
    let mut tasks = JoinSet::new();
    for folder in folders {
        let client = client.clone();
        tasks.spawn(async move {
            if let Err(error) = keep_deployed(folder, client, output).await {
                output.failure(&error);
            }
        });
    }
    // Dropping the set ends the tasks.
    node.ended().await?;
    Ok(Ending::Success)
}

fn resolved(folder: &Path) -> Result<PathBuf, Error> {
    let failed = |source| project::Error::Folder { folder: folder.to_owned(), source };
    let real = folder.canonicalize().map_err(failed)?;
    std::fs::read_dir(&real).map_err(failed)?;
    Ok(real)
}

/// Deploys a folder now and after every change. Errors of a deployment are shown, and the next save tries again.
async fn keep_deployed(folder: PathBuf, client: Client, output: Output) -> Result<(), Error> {
    let mut watch = Watch::new(folder.clone())?;
    let order = Order {
        folder,
        overrides: Manifest::default(),
        cache: cache_folder(&Process),
        fresh: false,
        tools: Arc::default(),
    };
    let mut follower = None;
    loop {
        watch.refresh();
        let begun = Instant::now();
        match deploy(&client, &order, &Progress::lines(output)).await {
            Ok(done) => {
                let name = done.function.function_name;
                if done.action != Action::Unchanged {
                    let paint = output.paint_err();
                    output.note(&format!(
                        "{} {} in {}",
                        paint.green("ready"),
                        paint.bold(&name),
                        span(begun.elapsed())
                    ));
                }
                if follower.is_none() {
                    let mut task = JoinSet::new();
                    task.spawn(show_logs(name, client.clone(), output));
                    follower = Some(task);
                }
            }
            Err(error) => output.failure(&error),
        }
        watch.changed().await;
    }
}

/// Prints what a function logs from now on, each line behind the function's name. A look that fails is repeated.
async fn show_logs(name: String, client: Client, output: Output) {
    let mut follower = Follower::new(logs::group(&name), now().0, None);
    loop {
        for event in follower.next(&client).await.unwrap_or_default() {
            let paint = output.paint();
            if output.json {
                let line = serde_json::json!({ "function": name, "timestamp": event.timestamp, "message": event.message });
                output.line(&line.to_string());
            } else {
                output.line(&format!("{} {}", paint.cyan(&format!("{name} |")), logs::line(&event, paint)));
            }
        }
        tokio::time::sleep(logs::FOLLOW_PAUSE).await;
    }
}

/// Notices changes below a folder, in what would be packaged and in the settings.
struct Watch {
    folder: PathBuf,
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    changes: Arc<Notify>,
}

impl Watch {
    fn new(folder: PathBuf) -> Result<Watch, Error> {
        let changes = Arc::new(Notify::new());
        let (root, told) = (folder.clone(), changes.clone());
        // The usual exclusions only: those of neap.toml may change while we watch.
        let exclusions = Exclusions::new(&[]).with_node_modules(false);
        let failed = |source| Error::Watch { folder: folder.clone(), source };
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error may hide a change, so it counts as one.
            if event.map_or(true, |event| concerns(&event, &root, &exclusions)) {
                told.notify_one();
            }
        })
        .map_err(failed)?;
        let mut watch = Watch { folder: folder.clone(), watcher, watched: BTreeSet::new(), changes };
        watch.watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(failed)?;
        watch.watched.insert(folder);
        Ok(watch)
    }

    /// Begins to watch folders that are new. One that is gone or cannot be watched is left out.
    fn refresh(&mut self) {
        let exclusions = Exclusions::new(&[]).with_node_modules(false);
        let mut waiting = vec![self.folder.clone()];
        let mut present = BTreeSet::new();
        while let Some(folder) = waiting.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            waiting.extend(entries.filter_map(Result::ok).filter_map(|entry| {
                let inside = entry.file_type().is_ok_and(|kind| kind.is_dir());
                (inside && !exclusions.skips_path(&self.folder, &entry.path())).then(|| entry.path())
            }));
            if self.watched.contains(&folder)
                || self.watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok()
            {
                present.insert(folder);
            }
        }
        self.watched = present;
    }

    /// Waits for a change and then until nothing more has changed for [`SETTLE`].
    async fn changed(&self) {
        self.changes.notified().await;
        while tokio::time::timeout(SETTLE, self.changes.notified()).await.is_ok() {}
    }
}

/// Whether an event is a change of something that matters. Packaging reads files, so reading must not count.
fn concerns(event: &Event, root: &Path, exclusions: &Exclusions) -> bool {
    let change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    };
    change
        && event.paths.iter().any(|path| {
            path.file_name().is_some_and(|name| name == MANIFEST_FILE) || !exclusions.skips_path(root, path)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_of_what_matters_concern_us() {
        let exclusions = Exclusions::new(&[]).with_node_modules(false);
        let write = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let concerns = |kind, path: &str| {
            concerns(&Event::new(kind).add_path(PathBuf::from(path)), Path::new("/p"), &exclusions)
        };
        assert!(concerns(write, "/p/app.py"));
        assert!(concerns(write, "/p/neap.toml"));
        assert!(!concerns(EventKind::Access(AccessKind::Open(AccessMode::Read)), "/p/app.py"));
        for litter in ["/p/target/x", "/p/__pycache__/a.pyc", "/p/node_modules/a/b.js", "/p/.git/index"] {
            assert!(!concerns(write, litter), "{litter}");
        }
    }

    #[tokio::test]
    async fn a_save_is_noticed_in_old_and_new_folders() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mut watch = Watch::new(root.clone()).unwrap();
        let noticed = async |watch: &Watch| {
            tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.expect("a change")
        };
        std::fs::write(root.join("app.py"), "1").unwrap();
        noticed(&watch).await;
        std::fs::create_dir(root.join("lib")).unwrap();
        noticed(&watch).await;
        watch.refresh();
        std::fs::write(root.join("lib/a.py"), "1").unwrap();
        noticed(&watch).await;
    }
}
