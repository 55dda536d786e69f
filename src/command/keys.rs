//! `bellwether keys generate|show`: the keys that sign control records (ticks, rules) and those that are trusted.

use super::output;
use crate::config::Config;
use crate::error::Error;
use crate::shell::keys;
use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of `bellwether keys`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a new Ed25519 key: DIR/control.key (PKCS#8 PEM, mode 0600) and DIR/control.pub. Never overwrites.
    Generate {
        /// Folder for the two files.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Print public keys, each with its id, as `control.trusted` takes them: of files, or of the configuration.
    Show {
        /// Files of private or public keys. Without one: what the configuration trusts.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Runs it.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    match &args.action {
        Action::Generate { out } => {
            let (private, public, key) = keys::generate_into(out)?;
            eprintln!("bellwether: wrote {} and {}", private.display(), public.display());
            eprintln!(
                "bellwether: set control.key to {} on every worker and where rules are applied",
                private.display()
            );
            output::line(&format!("{key} {}", key.id()))?;
        }
        Action::Show { files } if files.is_empty() => {
            for key in keys::keyring(config)?.keys() {
                output::line(&format!("{key} {}", key.id()))?;
            }
        }
        Action::Show { files } => {
            for path in files {
                let key = keys::public_of(path)?;
                output::line(&format!("{key} {} {}", key.id(), path.display()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
