//! `evercert env`

use std::path::Path;

use super::client;
use crate::cli::{Env, Shell};
use crate::report::{self, Exit, Failure};

pub(super) fn run(arguments: &Env) -> Result<Exit, Failure> {
    let socket = client::snapshot()?.agent.socket;
    report::print(&export(&socket, arguments.shell.unwrap_or_else(own_shell)));
    Ok(Exit::Done)
}

/// The line that sets `SSH_AUTH_SOCK`, in one shell's words.
pub(super) fn export(socket: &Path, shell: Shell) -> String {
    let socket = quoted(&socket.to_string_lossy(), shell);
    match shell {
        Shell::Sh => format!("SSH_AUTH_SOCK={socket}; export SSH_AUTH_SOCK;\n"),
        Shell::Csh => format!("setenv SSH_AUTH_SOCK {socket};\n"),
        Shell::Fish => format!("set -gx SSH_AUTH_SOCK {socket};\n"),
    }
}

fn own_shell() -> Shell {
    let shell = std::env::var("SHELL").unwrap_or_default();
    if shell.ends_with("csh") {
        Shell::Csh
    } else if shell.ends_with("fish") {
        Shell::Fish
    } else {
        Shell::Sh
    }
}

/// As it is where no shell could misread it, else within single quotes.
fn quoted(text: &str, shell: Shell) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    match shell {
        Shell::Fish => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Shell::Sh => format!("'{}'", text.replace('\'', r"'\''")),
        Shell::Csh => format!("'{}'", text.replace('\'', r"'\''").replace('!', r"\!")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_reach_the_shell_as_they_are() {
        for (path, shell, line) in [
            ("/run/a.sock", Shell::Sh, "SSH_AUTH_SOCK=/run/a.sock; export SSH_AUTH_SOCK;\n"),
            ("/a b", Shell::Sh, "SSH_AUTH_SOCK='/a b'; export SSH_AUTH_SOCK;\n"),
            ("/a'b", Shell::Sh, "SSH_AUTH_SOCK='/a'\\''b'; export SSH_AUTH_SOCK;\n"),
            ("/a b", Shell::Csh, "setenv SSH_AUTH_SOCK '/a b';\n"),
            ("/a'b", Shell::Fish, "set -gx SSH_AUTH_SOCK '/a\\'b';\n"),
        ] {
            assert_eq!(export(Path::new(path), shell), line);
        }
    }
}
