//! The signals of the operating system. Without Unix signals, these functions do nothing or end the program.

/// Calls a function with the number of each SIGTERM and SIGINT. A thread waits for them, because very little is allowed in a
/// signal handler.
#[cfg(unix)]
pub(crate) fn on_termination(mut handle: impl FnMut(i32) + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    let wait = move || signals.forever().for_each(&mut handle);
    std::thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}

#[cfg(not(unix))]
pub(crate) fn on_termination(_: impl FnMut(i32) + Send + 'static) -> std::io::Result<()> {
    Ok(())
}

/// Turns a write beyond the file size limit into an error: SIGXFSZ would end the program.
#[cfg(unix)]
pub(crate) fn report_file_size_limit() {
    // A handler that only sets a flag. If it cannot be installed, the default remains.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
}

#[cfg(not(unix))]
pub(crate) fn report_file_size_limit() {}

/// Ends the program as if it had no handler for this signal.
#[cfg(unix)]
pub(crate) fn exit_by(signal: i32) -> ! {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    std::process::exit(128 + signal)
}

#[cfg(not(unix))]
pub(crate) fn exit_by(_: i32) -> ! {
    std::process::exit(1)
}

/// Ends the program quietly, because nothing reads its output any more. Other programs are ended by SIGPIPE then, which Rust
/// programs ignore.
pub(crate) fn exit_by_broken_pipe() -> ! {
    #[cfg(unix)]
    let signal = signal_hook::consts::SIGPIPE;
    #[cfg(not(unix))]
    let signal = 0;
    exit_by(signal)
}
