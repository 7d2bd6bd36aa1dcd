//! A hub that reads three sensors. All of them are unplugged at the same moment, and plugged in again ten seconds later:
//! their readers fail, are restarted with growing delays, and run again, while the hub keeps running. Run it with
//! `cargo run --example sensor_hub`, or `-- 2` for an outage of two seconds.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rethread::observer;
use rethread::prelude::*;
use rethread::supervisor::{ChildInfo, RestartBackoff};

const HUB: SupervisorRef = SupervisorRef::named("hub");
const SENSORS: [&str; 3] = ["thermometer", "barometer", "hygrometer"];

/// The bus to which the simulated devices are attached.
static PLUGGED_IN: AtomicBool = AtomicBool::new(true);
static READINGS: AtomicUsize = AtomicUsize::new(0);

/// Returns an error while the devices are unplugged: when they are opened, and at each reading.
fn access_device() -> io::Result<()> {
    if PLUGGED_IN.load(Ordering::SeqCst) { Ok(()) } else { Err(io::Error::other("no such device")) }
}

/// Opens a device and reads it ten times a second. There is no code here that waits for a device or opens it again.
fn read_device() -> io::Result<()> {
    access_device()?; // in reality: `File::open("/dev/..")?`, `TcpStream::connect(..)?`
    loop {
        access_device()?;
        READINGS.fetch_add(1, Ordering::SeqCst);
        process::sleep(Duration::from_millis(100));
    }
}

/// Prints what the hub logs.
struct Log;

static LOGGED: AtomicUsize = AtomicUsize::new(0);
static RECOVERED: AtomicUsize = AtomicUsize::new(0);

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }
    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOGGED.fetch_add(1, Ordering::SeqCst);
            let text = record.args().to_string();
            RECOVERED.fetch_add(usize::from(text.contains(" is running again ")), Ordering::SeqCst);
            println!("{} {text}", record.level());
        }
    }
    fn flush(&self) {}
}

/// Waits until this holds for the number of readings, lines of the log or the like.
fn wait_until(is_true: impl Fn() -> bool) {
    while !is_true() {
        process::sleep(Duration::from_millis(10));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let outage = std::env::args().nth(1).map_or(Ok(10.0), |seconds| seconds.parse())?;
    log::set_logger(&Log)?;
    log::set_max_level(log::LevelFilter::Warn);

    // 0.25 s, 0.5 s, 1 s, 2 s, 2 s, ..; after 1 s without a failure the outage is over.
    let backoff = RestartBackoff::new(Duration::from_millis(250), Duration::from_secs(2))
        .reset_after(Duration::from_secs(1))
        .retry_first_start(true);
    let readers = SENSORS.map(|name| ChildSpec::worker(name, || read_device().or_exit()));
    let hub =
        Supervisor::one_for_one().name(HUB).child_restart_backoff(backoff).children(readers).start_link()?;
    let first = hub.whereis().ok_or("the hub is not running")?;
    wait_until(|| READINGS.load(Ordering::SeqCst) >= 9);
    println!("all sensors deliver");

    PLUGGED_IN.store(false, Ordering::SeqCst);
    println!("all devices are unplugged");
    let is_waiting = |child: &ChildInfo| child.restart_in().is_some();
    wait_until(|| HUB.which_children().is_ok_and(|children| children.iter().all(is_waiting)));
    for row in observer::snapshot().tree_of(first) {
        println!("    {row}");
    }
    process::sleep(Duration::from_secs_f64(outage));

    PLUGGED_IN.store(true, Ordering::SeqCst);
    println!("all devices are plugged in");
    wait_until(|| RECOVERED.load(Ordering::SeqCst) == SENSORS.len());
    let before = READINGS.load(Ordering::SeqCst);
    wait_until(|| READINGS.load(Ordering::SeqCst) >= before + 9);
    println!("all sensors deliver");
    println!("the hub is the same process: {}", hub.whereis() == Some(first));
    println!("its log had at most 10 lines: {}", LOGGED.load(Ordering::SeqCst) <= 10);
    Ok(hub.stop()?)
}
