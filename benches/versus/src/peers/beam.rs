//! The BEAM: processes and gen_servers in Erlang, run by `erl` if there is one.

use std::fs;
use std::process::{Command, Stdio};

use crate::measure::{Figure, Outcome};
use crate::workload::{Scale, Workload};

const SOURCE: &str = include_str!("versus.erl");

pub fn run(workload: Workload, scale: Scale) -> Outcome {
    let directory = std::env::temp_dir().join(format!("rethread-versus-{}", std::process::id()));
    fs::create_dir_all(&directory).map_err(|_| "no directory for the compiled module")?;
    let source = directory.join("versus.erl");
    let made = fs::write(&source, SOURCE).is_ok()
        && quiet("erlc").arg("-o").arg(&directory).arg(&source).status().is_ok_and(|status| status.success());
    let output = quiet("erl")
        .args(["-noshell", "+P", "262144", "-kernel", "logger_level", "none", "-pa"])
        .arg(&directory)
        .args([
            "-run",
            "versus",
            "main",
            workload.name(),
            &workload.count(scale).to_string(),
            scale.pick("1500", "5000"),
        ])
        .stdout(Stdio::piped())
        .output();
    let _ = fs::remove_dir_all(&directory);
    let output = output.map_err(|_| "there is no erl")?;
    if !made || !output.status.success() {
        return Err("the Erlang program failed");
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<Figure> = said
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect();
    if figures.is_empty() { Err("not part of the Erlang program") } else { Ok(figures) }
}

fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub fn version() -> String {
    let asked = quiet("erl")
        .args(["-noshell", "-eval", "io:format(\"~s\", [erlang:system_info(otp_release)]), halt()."])
        .stdout(Stdio::piped())
        .output();
    asked
        .map_or_else(|_| "no erl".into(), |output| format!("OTP {}", String::from_utf8_lossy(&output.stdout)))
}
