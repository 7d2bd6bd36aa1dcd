//! Chapter 8, "The limits of threads": code that does not react to exit signals by itself, and SIGTERM.

use rethread::prelude::*;
use std::sync::mpsc;
use std::time::Duration;

pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (ready, begun) = mpsc::channel();

    // Computes without end, and can be ended.
    let busy = process::spawn(|| {
        loop {
            std::hint::black_box(20261122_u32.count_ones());
            process::checkpoint();
        }
    })?;

    // Blocks where the runtime cannot see it, and can be ended.
    let (sender, receiver) = mpsc::channel::<()>();
    let inside = ready.clone();
    let polite = process::spawn(move || {
        let _hook = process::on_exit_request(move || drop(sender));
        let _ = inside.send(());
        let _ = receiver.recv();
    })?;

    // Blocks, without a hook.
    let (sender, receiver) = mpsc::channel::<()>();
    let stuck = process::Builder::new().kill_grace(Duration::from_millis(10)).spawn(move || {
        let _ = ready.send(());
        let _ = receiver.recv();
    })?;

    begun.recv()?;
    begun.recv()?; // both are in the calls that block
    for pid in [busy, polite] {
        let watch = process::watch(pid);
        process::exit(pid, ExitReason::Shutdown);
        assert_eq!(watch.wait(), ExitReason::Shutdown);
    }
    assert!(process::zombies().is_empty());

    let watch = process::watch(stuck);
    process::exit(stuck, ExitReason::Kill);
    assert_eq!(watch.wait(), ExitReason::Killed); // exited after 10 ms, for all other processes
    assert_eq!(process::zombies()[0].pid, stuck); // but its thread is still running
    drop(sender); // it wakes up: the thread ends, and the zombie is removed from the list
    #[cfg(unix)]
    child_program::run()?;
    Ok(())
}

#[cfg(unix)]
mod child_program {
    use parking_lot::Mutex;
    use rethread::prelude::*;
    use std::io::Read;
    use std::process::{Command, Stdio};
    use std::sync::{Arc, mpsc};

    pub fn run() -> Result<(), Box<dyn std::error::Error>> {
        let (ready, begun) = mpsc::channel();
        let runs = process::spawn(move || {
            let mut command = Command::new("sleep");
            let mut child = command.arg("600").stdout(Stdio::piped()).spawn().or_exit();
            let mut output = child.stdout.take().expect("it is piped");
            let child = Arc::new(Mutex::new(child));
            let handle = child.clone();
            let _hook = process::on_exit_request(move || drop(handle.lock().kill()));
            let _ = ready.send(());
            let _ = output.read_to_end(&mut Vec::new()); // blocks until the program ends, and holds no lock
            let _ = child.lock().wait(); // collects its exit status
        })?;

        begun.recv()?;
        let watch = process::watch(runs);
        process::exit(runs, ExitReason::Shutdown);
        assert_eq!(watch.wait(), ExitReason::Shutdown); // not after ten minutes
        Ok(())
    }
}

#[cfg(unix)]
pub mod sigterm {
    use rethread::application::{Application, ApplicationExit};
    use rethread::prelude::*;
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    pub fn serve() -> Result<ApplicationExit, Box<dyn std::error::Error>> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?; // before the start, so that no signal is missed
        let app = Application::new("todo", Supervisor::one_for_one()).start()?;
        let stop = app.clone();
        std::thread::Builder::new().spawn(move || signals.forever().for_each(|_| stop.request_stop()))?;
        Ok(app.wait())
    }
}
