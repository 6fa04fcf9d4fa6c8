# Which toolchain builds WebAssembly guests on this machine. Sourced by `setup` and `build-guests`,
# so that what the one promises is what the other uses. It only looks: installing is setup's work.
#
# Two ways are known:
#   target  the Rust that `cargo` uses has the standard library of wasm32-wasip2 installed.
#   source  it has not, but Debian's packages bring a Rust with the standard library's source and
#           a libc for WASI. Guests are then built with that Rust, standard library included, and
#           linked by the two linkers that every rustup toolchain carries. Crates are still
#           resolved by the one `cargo` of the project, so one Cargo.lock serves host and guests.

# Packages of the second way. Their Rust must not be older than the project's rust-version.
guest_debian_packages=(rustc-web rust-web-src wasi-libc)

# Sets guest_way to `target`, `source` or `none`; for `source` also the paths that it needs, and for
# `none` guest_missing, which names the first thing that was not there.
find_guest_toolchain() {
    guest_way=none
    guest_missing=""

    local sysroot host
    sysroot=$(rustc --print sysroot)
    if [[ -d $sysroot/lib/rustlib/wasm32-wasip2/lib ]]; then
        guest_way=target
        return
    fi

    guest_rustc=$(first_installed rustc-web '/bin/rustc$')
    local wasi_libc
    wasi_libc=$(first_installed wasi-libc '/libc\.a$')
    if [[ -z $guest_rustc || -z $wasi_libc ]]; then
        guest_missing="the target wasm32-wasip2, and Debian's ${guest_debian_packages[*]}"
        return
    fi
    guest_libs=$(dirname "$wasi_libc")
    if [[ ! -d $("$guest_rustc" --print sysroot)/lib/rustlib/src/rust/library/std ]]; then
        guest_missing="the standard library's source for $guest_rustc (Debian: rust-web-src)"
        return
    fi

    host=$(rustc -vV | sed -n 's/^host: //p')
    guest_linkers=$sysroot/lib/rustlib/$host/bin
    if [[ ! -x $guest_linkers/wasm-component-ld || ! -x $guest_linkers/gcc-ld/wasm-ld ]]; then
        guest_missing="the linkers wasm-component-ld and wasm-ld in $guest_linkers (a Rust from rustup has them)"
        return
    fi
    guest_way=source
}

# The first file of an installed Debian package whose path matches, or nothing.
first_installed() {
    { dpkg -L "$1" 2>/dev/null || true; } | grep -m 1 -E "$2" || true
}

# Runs `cargo build` for guests with the way that find_guest_toolchain found.
cargo_build_guests() {
    # RUSTFLAGS would silently win over the target's own flags.
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    local build=(cargo build --release --target wasm32-wasip2 "$@")
    case $guest_way in
        target) "${build[@]}" ;;
        source)
            PATH=$guest_linkers/gcc-ld:$PATH \
                RUSTC_BOOTSTRAP=1 \
                RUSTC=$guest_rustc \
                CARGO_TARGET_WASM32_WASIP2_LINKER=$guest_linkers/wasm-component-ld \
                CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS="-L$guest_libs -Clink-self-contained=no" \
                "${build[@]}" -Zbuild-std=std,panic_abort
            ;;
    esac
}
