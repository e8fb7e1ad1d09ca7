//! The program: reads arguments, does what they say.

/// A delivery is allocated on one thread and freed on another; glibc's allocator is slow at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    storehand::cli::main()
}
