//! `bench idle`: memory of a node without functions, its launch, and what deployed functions cost it.

use super::{
    Outcome,
    apps::App,
    options::Options,
    setup::{binary, cpus, create, kernel, leave, progress, start},
    table::{Table, mib},
};
use std::{path::Path, time::Duration};
use testkit::{process, stats::median};

/// Functions that are deployed to see what one costs.
const DEPLOYED: usize = 1_000;

pub(super) fn run(options: &Options) -> Outcome<()> {
    println!("## Idle\n");
    println!("`cargo xtask bench idle`, {} processors, {}.", cpus(), kernel());
    let neap = binary(options)?;
    launches(options, &neap)?;
    deployed(&neap)
}

/// Memory that deployed functions cost which nobody calls, and which somebody has asked about.
fn deployed(neap: &Path) -> Outcome<()> {
    let node = start(neap)?;
    let client = node.client();
    // What the first deployment brings with it is not counted.
    create(&client, App::Python, "first", None)?;
    let resident = || process::memory(node.pid()).resident;
    let mut table = Table::new(&["functions deployed", "resident MiB", "KiB for each"]);
    let before = resident();
    table.row(&[&1, &mib(before), &"–"]);
    for part in 1..=2 {
        for number in 0..DEPLOYED / 2 {
            create(&client, App::Python, &format!("idle-{part}-{number}"), None)?;
        }
        let (now, made) = (resident(), part * DEPLOYED / 2);
        progress(&format!("{made} functions deployed"));
        let each = now.saturating_sub(before) as f64 / 1024.0 / made as f64;
        table.row(&[&(made + 1), &mib(now), &format!("{each:.2}")]);
    }
    table.print("Memory of the daemon with functions that are not called");
    leave(node)
}

fn launches(options: &Options, neap: &Path) -> Outcome<()> {
    let (mut launches, mut prepared) = (Vec::new(), Vec::new());
    let mut memory = Table::new(&["process of an idle node", "resident MiB", "proportional MiB"]);
    for round in 0..options.launches {
        progress(&format!("launch {}", round + 1));
        let node = start(neap)?;
        launches.push(node.launch.as_secs_f64() * 1000.0);
        prepared.push(node.prepared.as_secs_f64() * 1000.0);
        if round + 1 == options.launches {
            // Pools fill in the background.
            std::thread::sleep(Duration::from_secs(3));
            let mut sum = (0, 0);
            for (pid, name) in process::named_tree(node.pid()) {
                let used = process::memory(pid);
                sum = (sum.0 + used.resident, sum.1 + used.proportional);
                memory.row(&[&name, &mib(used.resident), &mib(used.proportional)]);
            }
            memory.row(&[&"all", &mib(sum.0), &mib(sum.1)]);
        }
        leave(node)?;
    }
    memory.print("Idle memory, no function deployed");
    let slowest = launches.iter().copied().fold(0.0, f64::max);
    println!(
        "\nLaunch to the first answer: median {:.0} ms, slowest of {} {slowest:.0} ms; until the runtimes of a new data folder \
         are prepared: median {:.0} ms.",
        median(launches),
        options.launches,
        median(prepared),
    );
    Ok(())
}
