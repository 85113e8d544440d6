//! The binary `ops`: parse arguments, call one function, turn its answer into an exit code.

/// One allocator for Rust and, through its `override` feature, for librdkafka.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    hms_ops::cli::main()
}
