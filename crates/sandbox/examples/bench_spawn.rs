//! Time from the call of `spawn` to the first byte that a tiny static program writes, with its phases, beside a floor
//! measured in the same run: a bare clone with the same kinds of namespaces and an exec of the same program, nothing else.
//! Then bursts.
//!
//! `cargo run --release -p neap-sandbox --example bench_spawn -- [STARTS [BURST [SCRATCH]]]`, as root, on x86-64; SCRATCH is a
//! folder for scratch space on disk.
#![allow(unsafe_code)] // the floor is a raw clone

use sandbox::{Attachment, Sandboxes, Scratch, Settings, Spec, Template, TemplateSpec, Timing};
use std::{
    io::{Read, Write},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::Path,
    time::{Duration, Instant},
};
use tokio::io::AsyncReadExt;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let starts: usize = arguments.next().map_or(Ok(300), |text| text.parse())?;
    let burst: usize = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let scratch = arguments.next().map_or(Scratch::Memory, |folder| Scratch::Disk(folder.into()));
    let sandboxes = Sandboxes::start(Settings {
        scratch,
        prepared_max: burst.max(128),
        ..Settings::new(format!("bench{}", std::process::id()))
    })?;
    let folder = Folder::make()?;
    let program = folder.0.join("tiny");
    std::fs::write(&program, tiny_program())?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(measure(&sandboxes, &program, starts, burst))
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn make() -> Outcome<Folder> {
        let path = std::env::temp_dir().join(format!("neap-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn measure(sandboxes: &Sandboxes, program: &Path, starts: usize, burst: usize) -> Outcome<()> {
    let template = sandboxes
        .template(TemplateSpec {
            name: "bench".into(),
            binds: vec![Attachment::same("/usr"), Attachment::new(program, "/tiny")],
            ..TemplateSpec::default()
        })
        .await?;
    let task = program.parent().ok_or("program has a parent")?;
    let (mut floor, mut ours, mut timings, mut ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut begun, mut frozen, mut attached) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..starts + 20 {
        let bare = bare(program)?;
        let (first_byte, timing, end) = one(sandboxes, &template, task).await?;
        let (began, thawed) = (
            waited(sandboxes, &template, task, false).await?,
            waited(sandboxes, &template, task, true).await?,
        );
        let attachment = attach(sandboxes, &template, task).await?;
        if round >= 20 {
            begun.push(began);
            frozen.push(thawed);
            attached.push(attachment);
            floor.push(bare);
            ours.push(first_byte);
            timings.push(timing);
            ends.push(end);
        }
    }
    println!("{starts} starts one after the other, to the first byte, microseconds:");
    print("floor: bare clone and exec", &mut floor);
    print("sandbox", &mut ours);
    print("begun in a waiting sandbox", &mut begun);
    print("  and thawed", &mut frozen);
    print("attached, and nothing else", &mut attached);
    println!(
        "  ratio of medians {:.2}",
        ours[ours.len() / 2].as_secs_f64() / floor[floor.len() / 2].as_secs_f64()
    );
    print("end (kill to nothing left)", &mut ends);
    println!("phases, microseconds:");
    let phase = |name: &str, of: fn(&Timing) -> u64| {
        let mut spans: Vec<Duration> =
            timings.iter().map(|timing| Duration::from_micros(of(timing))).collect();
        print(name, &mut spans);
    };
    phase("slot", |timing| timing.slot.0);
    phase("request", |timing| timing.request.0);
    phase("clone", |timing| timing.clone.0);
    phase("mounts", |timing| timing.mounts.0);
    phase("lockdown", |timing| timing.lockdown.0);
    phase("exec", |timing| timing.exec.0);
    phase("total until spawn returns", |timing| timing.total.0);
    // What the starts used up is prepared again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for name in ["first", "second"] {
        let began = Instant::now();
        let tasks: Vec<_> = (0..burst)
            .map(|_| {
                let (sandboxes, template, task) = (sandboxes.clone(), template.clone(), task.to_owned());
                tokio::spawn(async move {
                    let mut sandbox = sandboxes.spawn(spec(&template, &task)).await?;
                    first_byte(sandbox.take_stdout()).await?;
                    Outcome::Ok((Instant::now(), sandbox))
                })
            })
            .collect();
        let mut spans = Vec::new();
        let mut sandboxes = Vec::new();
        for task in tasks {
            let (at, sandbox) = task.await??;
            spans.push(at - began);
            sandboxes.push(sandbox);
        }
        println!("{name} burst of {burst}, each one's first byte since the burst began:");
        print("sandbox", &mut spans);
        println!("  all after {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
        for sandbox in sandboxes {
            sandbox.kill().await;
        }
    }
    sandboxes.shutdown().await;
    Ok(())
}

fn spec(template: &Template, task: &Path) -> Spec {
    Spec { task: Some(task.to_owned()), ..Spec::new(template.clone(), vec!["/tiny".into()]) }
}

async fn first_byte(stdout: Option<OwnedFd>) -> Outcome<()> {
    let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(stdout.ok_or("stdout is there")?)?;
    pipe.read_u8().await?;
    Ok(())
}

async fn one(
    sandboxes: &Sandboxes,
    template: &Template,
    task: &Path,
) -> Outcome<(Duration, Timing, Duration)> {
    let began = Instant::now();
    let mut sandbox = sandboxes.spawn(spec(template, task)).await?;
    first_byte(sandbox.take_stdout()).await?;
    let first_byte = began.elapsed();
    let timing = sandbox.timing();
    let killed = Instant::now();
    sandbox.kill().await;
    Ok((first_byte, timing, killed.elapsed()))
}

/// A sandbox that waits for its program gets that, and the files: from the call to the first byte.
async fn waited(sandboxes: &Sandboxes, template: &Template, task: &Path, frozen: bool) -> Outcome<Duration> {
    let mut sandbox = sandboxes.spawn(Spec::waiting(template.clone())).await?;
    if frozen {
        sandbox.freeze()?;
    }
    let attachments = [Attachment::new(task, sandbox::TASK)];
    let program = ["/var/task/tiny".into()];
    let began = Instant::now();
    let begun = sandbox.begin_as(&attachments, &program, &[], Path::new(sandbox::TASK));
    let (begun, thawed) = tokio::join!(begun, async { sandbox.thaw() });
    begun.and(thawed)?;
    first_byte(sandbox.take_stdout()).await?;
    let took = began.elapsed();
    sandbox.kill().await;
    Ok(took)
}

/// Files are attached to a sandbox: from the call to its return.
async fn attach(sandboxes: &Sandboxes, template: &Template, task: &Path) -> Outcome<Duration> {
    let sandbox = sandboxes.spawn(Spec::waiting(template.clone())).await?;
    let began = Instant::now();
    sandbox.attach(&[Attachment::new(task, sandbox::TASK)]).await?;
    let took = began.elapsed();
    sandbox.kill().await;
    Ok(took)
}

/// The least that anybody must do: new namespaces, the program, a pipe.
fn bare(program: &Path) -> Outcome<Duration> {
    use std::os::unix::process::CommandExt;
    let began = Instant::now();
    let (mut reader, writer) = std::io::pipe()?;
    let mut command = std::process::Command::new(program);
    command.stdout(writer);
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            let flags = libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP;
            if libc::unshare(flags) == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    // SAFETY: only sets where this thread's next child lives; it is undone below.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let mut child = command.spawn()?;
    drop(command);
    reader.read_exact(&mut [0])?;
    let took = began.elapsed();
    child.kill()?;
    child.wait()?;
    let own = std::fs::File::open("/proc/self/ns/pid")?;
    // SAFETY: moves later children back into this process's own pid namespace.
    if unsafe { libc::setns(std::os::fd::AsRawFd::as_raw_fd(&own), libc::CLONE_NEWPID) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(took)
}

fn print(name: &str, spans: &mut [Duration]) {
    spans.sort();
    let at = |share: f64| spans[((spans.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let _ = writeln!(
        std::io::stdout(),
        "  {name:28} p50 {:7.0}  p90 {:7.0}  p99 {:7.0}  min {:7.0}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.0)
    );
}

/// An x86-64 executable of one page that writes `!` to standard output and waits.
fn tiny_program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    let code: &[u8] = &[
        0xb8, 1, 0, 0, 0, // mov eax, 1 (write)
        0xbf, 1, 0, 0, 0, // mov edi, 1
        0x48, 0x8d, 0x35, 18, 0, 0, 0, // lea rsi, [rip + 18]
        0xba, 1, 0, 0, 0, // mov edx, 1
        0x0f, 0x05, // syscall
        0xb8, 34, 0, 0, 0, // mov eax, 34 (pause)
        0x0f, 0x05, // syscall
        0xeb, 0xf7, // jmp to pause
        0x90, 0x90, b'!',
    ];
    let headers = 64 + 56;
    let size = headers + code.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([2_u16, 62].iter().flat_map(|half| half.to_le_bytes()));
    file.extend(1_u32.to_le_bytes());
    file.extend([BASE + headers, 64, 0].iter().flat_map(|word: &u64| word.to_le_bytes()));
    file.extend(0_u32.to_le_bytes());
    file.extend([64_u16, 56, 1, 64, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    file.extend([1_u32, 5].iter().flat_map(|word| word.to_le_bytes()));
    file.extend([0, BASE, BASE, size, size, 0x1000].iter().flat_map(|word: &u64| word.to_le_bytes()));
    file.extend(code);
    file
}
