//! The command line, declared.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// An ssh-agent whose certificates never go stale.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  evercert agent                 start; without a configuration, make one that works at once
  eval \"$(evercert env)\"         point this shell at the running agent
  ssh-add -l                     see the certificates
  evercert status                see how long they last, and what went wrong

Environment:
  EVERCERT_CONFIG       configuration file, instead of the default place
  EVERCERT_RUNTIME_DIR  directory of sockets and lock
  EVERCERT_LOG          what goes to stderr, for example debug or evercert=trace";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent in the foreground
    Agent(Agent),
    /// Show the agent, its environments and their certificates
    Status(Status),
    /// Renew certificates now, and wait for them
    Renew(Renew),
    /// Print the line that points a shell at the running agent
    Env(Env),
    /// Look at the configuration
    #[command(subcommand)]
    Config(Config),
    /// Look at the CAs
    #[command(subcommand)]
    Ca(Ca),
}

/// Which configuration file.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// Configuration file, instead of the default place
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `evercert agent`
#[derive(Debug, Args)]
#[command(after_help = "\
Prints one line for the shell on stdout once it accepts connections, and stays in the foreground.
Without a configuration it writes one with a single environment, local, and makes a CA for it.

Signals: SIGTERM and SIGINT end it, SIGHUP reads the configuration again, SIGUSR1 drops all keys.

Examples:
  evercert agent
  evercert agent --config staging.toml --socket /run/user/1000/staging.sock")]
pub struct Agent {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Socket to listen on, instead of agent.sock in the runtime directory
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `evercert status`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 all is well, 1 an environment or the configuration needs a look, 3 no agent runs.

Examples:
  evercert status
  evercert status --json | jq -r '.environments[].certificate.valid_before'")]
pub struct Status {
    /// One JSON object, for programs
    #[arg(long)]
    pub json: bool,
}

/// `evercert renew`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evercert renew                        every environment
  evercert renew production             only that one
  evercert renew production --new-key   with a fresh session key")]
pub struct Renew {
    /// Environments to renew; all when none is named
    #[arg(value_name = "ENV")]
    pub environments: Vec<String>,
    /// Make a fresh session key, too
    #[arg(long)]
    pub new_key: bool,
}

/// `evercert env`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  eval \"$(evercert env)\"
  evercert env --shell fish | source")]
pub struct Env {
    /// The shell's language; told from $SHELL when left out
    #[arg(long, value_enum)]
    pub shell: Option<Shell>,
}

/// The languages of `evercert env`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// sh, bash, zsh and their kin
    Sh,
    /// csh, tcsh
    Csh,
    /// fish
    Fish,
}

/// `evercert config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Check a configuration and every key file that it names
    #[command(after_help = "\
Examples:
  evercert config check
  evercert config check staging.toml")]
    Check {
        /// The file to check, instead of the one in force
        file: Option<PathBuf>,
    },
    /// Print where the configuration is read from
    #[command(after_help = "\
Examples:
  $EDITOR \"$(evercert config path)\"")]
    Path(ConfigFile),
}

/// `evercert ca`
#[derive(Debug, Subcommand)]
pub enum Ca {
    /// Print a CA's public key, for servers to trust
    #[command(after_help = "\
Examples:
  evercert ca public-key > ca.pub          for sshd's TrustedUserCAKeys
  evercert ca public-key production --format authorized-keys >> ~/.ssh/authorized_keys")]
    PublicKey(CaPublicKey),
    /// Have a CA sign something that no server accepts, to see whether it would sign
    #[command(after_help = "\
What is signed is of no type, for nobody, valid in 1970, and recorded like a certificate.

Examples:
  evercert ca check production")]
    Check(CaCheck),
}

/// `evercert ca check`
#[derive(Debug, Args)]
pub struct CaCheck {
    /// The environment; may be left out when there is only one
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `evercert ca public-key`
#[derive(Debug, Args)]
pub struct CaPublicKey {
    /// The environment; may be left out when there is only one
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,
    /// The form of the line
    #[arg(long, value_enum, default_value = "public-key")]
    pub format: KeyFormat,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// The forms of a CA's public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyFormat {
    /// A line as in a .pub file
    PublicKey,
    /// The same behind cert-authority, for an authorized_keys file
    AuthorizedKeys,
}
