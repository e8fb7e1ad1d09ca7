//! The program: reads arguments, does what they say.

fn main() -> std::process::ExitCode {
    storehand::cli::main()
}
