//! Type names as users know them, for error messages and listings.

use std::any::type_name;

/// Returns the name of a message type as users know it: without the paths of this crate, which are private; type
/// parameters keep their paths. The message type of a server becomes the type of the server.
///
/// | type | name |
/// | --- | --- |
/// | `Envelope<my::Counter>` | `my::Counter` |
/// | the server of a supervisor, of an agent | `Supervisor`, `Agent<i64>` |
/// | `NoMessages` | `no messages` |
/// | any type of another crate | unchanged |
pub(crate) fn public_type_name<T>() -> &'static str {
    to_public(type_name::<T>())
}

/// Returns the name of a type without its path: `Counter` for `my::module::Counter`; type parameters keep their
/// paths.
pub(crate) fn short_type_name<T>() -> &'static str {
    without_path(type_name::<T>())
}

/// Converts a name from [`type_name`] into that of [`public_type_name`].
fn to_public(name: &'static str) -> &'static str {
    if !name.starts_with(concat!(env!("CARGO_CRATE_NAME"), "::")) {
        return name;
    }
    match without_path(name) {
        "NoMessages" => "no messages",
        short => match short.strip_prefix("Envelope<").and_then(|rest| rest.strip_suffix('>')) {
            Some(server) => to_public(server),
            None => short,
        },
    }
}

/// Removes the path from the name of a type; type parameters keep their paths.
pub(crate) fn without_path(name: &'static str) -> &'static str {
    let path_end = name.find('<').unwrap_or(name.len());
    let path = name.get(..path_end).unwrap_or(name);
    path.rfind("::").and_then(|at| name.get(at + 2..)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_path_is_not_part_of_a_public_name() {
        let expected = [
            ("rethread::supervisor::server::Supervisor", "Supervisor"),
            ("rethread::gen_server::callbacks::Envelope<rethread::agent::server::Agent<i64>>", "Agent<i64>"),
            ("rethread::gen_server::callbacks::Envelope<my::Cache<my::Key>>", "my::Cache<my::Key>"),
            ("rethread::process::mailbox::inbox::NoMessages", "no messages"),
            ("rethread_user::Counter", "rethread_user::Counter"),
            ("alloc::vec::Vec<rethread::pid::Pid>", "alloc::vec::Vec<rethread::pid::Pid>"),
            ("u8", "u8"),
        ];
        for (name, public) in expected {
            assert_eq!(to_public(name), public);
        }
    }
}
