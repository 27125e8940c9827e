//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use lede_shared::api::OptimizationLevel;

/// Sets up, builds, runs, tests and checks Lede.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring up every tool that the other commands use
    Setup,
    /// Build one side
    Build {
        #[command(subcommand)]
        target: BuildTarget,
    },
    /// Set up, build and run both sides on this machine until Ctrl-C
    Up(UpOptions),
    /// Set up, build and run every test, or those that the arguments name
    Test {
        /// Arguments for cargo nextest, such as a test's name
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        nextest_args: Vec<String>,
    },
    /// Format, lint, licences, advisories and spelling
    Check,
    /// Write the description of the API and its page into edge/assets
    Docs,
    /// Fuzz with libFuzzer whatever reads what somebody sent, target by target
    Fuzz {
        /// Only this target of tests/fuzz/targets.rs
        #[arg(long)]
        target: Option<String>,
        /// How long each target runs
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Measure one side
    Bench {
        #[command(subcommand)]
        target: BenchTarget,
    },
    /// Measure the captions of a served model over descriptions that training never saw, into docs/EVAL.md
    Eval(EvalOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuildTarget {
    /// The Worker, into edge/build
    Edge {
        /// Bundle again even when the compiled module is the one already bundled
        #[arg(long)]
        always: bool,
        /// Check first that this environment of wrangler.toml can be deployed: staging or production
        #[arg(long)]
        environment: Option<String>,
    },
    /// The origin's binary
    Origin {
        /// With the release profile
        #[arg(long)]
        release: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchTarget {
    /// Requests per CPU second of workerd, against the same work in plain JavaScript, into docs/BENCH.md
    Edge {
        /// Only show the table
        #[arg(long)]
        dry: bool,
    },
    /// The origin's response cache: against bare moka, bare axum and the best that could be done, into docs/BENCH.md
    Cache {
        /// Only these sections, separated by commas
        #[arg(long)]
        only: Option<String>,
        /// Only show the tables
        #[arg(long)]
        dry: bool,
    },
    /// The engine and its devices: against llama.cpp, one at a time, alone and in a flood, into docs/BENCH.md
    Engine {
        /// Only these sections, separated by commas: decode, batching, prefix, priority, overload, cycles; and gpu, only when named
        #[arg(long)]
        only: Option<String>,
        /// A fraction of the time, to see that it works; shows the tables and writes nothing
        #[arg(long)]
        short: bool,
        /// Only show the tables
        #[arg(long)]
        dry: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UpOptions {
    /// Build the origin with the release profile
    #[arg(long)]
    pub(crate) release: bool,
    /// Port of the edge on 127.0.0.1
    #[arg(long, default_value_t = 8787)]
    pub(crate) port_edge: u16,
    /// Port of the origin on 127.0.0.1
    #[arg(long, default_value_t = 8140)]
    pub(crate) port_origin: u16,
}

#[derive(Debug, Args)]
pub(crate) struct EvalOptions {
    /// `ultra_fast`, `balanced` or `quality`
    #[arg(long, default_value = "balanced")]
    pub(crate) level: OptimizationLevel,
    /// Only the first COUNT descriptions; then nothing is written but what --report and --json name
    #[arg(long)]
    pub(crate) count: Option<usize>,
    /// A running service, such as that of `cargo xtask up`, instead of one started here; it has to take the key in
    /// `LEDE_API_KEY`, or else that of `up`
    #[arg(long)]
    pub(crate) origin: Option<String>,
    /// Where the report goes instead of docs/EVAL.md
    #[arg(long)]
    pub(crate) report: Option<PathBuf>,
    /// Where every caption and every number go as JSON
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split_whitespace()).expect("the line parses")
    }

    #[test]
    fn up_listens_on_the_documented_ports_unless_told_otherwise() {
        let Command::Up(options) = parse("xtask up").command else { panic!("not up") };
        assert_eq!((options.port_edge, options.port_origin, options.release), (8787, 8140, false));
        let Command::Up(options) = parse("xtask up --release --port-edge 1 --port-origin 2").command else {
            panic!("not up")
        };
        assert_eq!((options.port_edge, options.port_origin, options.release), (1, 2, true));
    }

    #[test]
    fn test_hands_every_argument_to_nextest() {
        let Command::Test { nextest_args } = parse("xtask test -E test(replayed) --no-capture").command else {
            panic!("not test")
        };
        assert_eq!(nextest_args, ["-E", "test(replayed)", "--no-capture"]);
    }

    #[test]
    fn eval_asks_at_the_default_level_and_refuses_an_unknown_one() {
        let Command::Eval(options) = parse("xtask eval").command else { panic!("not eval") };
        assert_eq!((options.level, options.count), (OptimizationLevel::default(), None));
        assert!(Cli::try_parse_from(["xtask", "eval", "--level", "best"]).is_err());
    }

    #[test]
    fn an_unknown_command_is_refused() {
        assert!(Cli::try_parse_from(["xtask", "deploy"]).is_err());
    }
}
