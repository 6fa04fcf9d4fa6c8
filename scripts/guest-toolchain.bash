# Which toolchain builds WebAssembly guests on this machine. Sourced by `setup` and `build-guests`,
# so that what the one promises is what the other uses. It only looks: installing is setup's work.
#
# Two ways are known:
#   target  the Rust that `cargo` uses has the standard library of wasm32-wasip2 installed.
#   source  it has not, but Debian's packages bring a Rust with the standard library's source, and
#           a libc for WASI. Guests are then compiled by that Rust, standard library included, and
#           linked by the two linkers that every rustup toolchain carries. The project's own cargo
#           drives it, so one Cargo.lock serves host and guests.

# What the second way needs. Debian's own cargo is not among it.
guest_debian_packages=(rustc-web rust-web-src wasi-libc)

# Sets guest_way to `target`, `source` or `none`; for `source` also the paths that it needs, and for
# `none` guest_missing, which names the first thing that was not there.
find_guest_toolchain() {
    guest_way=none
    guest_missing=""

    local sysroot
    sysroot=$(rustc --print sysroot)
    if [[ -d $sysroot/lib/rustlib/wasm32-wasip2/lib ]]; then
        guest_way=target
        return
    fi

    local wasi_libc
    guest_rustc=$(first_file_of rustc-web '/bin/rustc$')
    wasi_libc=$(first_file_of wasi-libc '/libc\.a$')
    if [[ -z $guest_rustc || -z $wasi_libc ]]; then
        guest_missing="the target wasm32-wasip2, or Debian's ${guest_debian_packages[*]} in its place"
        return
    fi
    guest_libs=$(dirname "$wasi_libc")

    local wanted found
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
    found=$("$guest_rustc" --version | cut -d ' ' -f 2)
    if ! version_at_least "$wanted" "$found"; then
        guest_missing="a Rust of at least $wanted: Debian's rustc-web is $found (apt-get update may know a newer one)"
        return
    fi
    if [[ ! -d $("$guest_rustc" --print sysroot)/lib/rustlib/src/rust/library/std ]]; then
        guest_missing="the standard library's source (Debian's rust-web-src)"
        return
    fi

    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    guest_linkers=$sysroot/lib/rustlib/$host/bin
    if [[ ! -x $guest_linkers/wasm-component-ld || ! -x $guest_linkers/gcc-ld/wasm-ld ]]; then
        guest_missing="the linkers wasm-component-ld and wasm-ld, which a Rust from rustup brings"
        return
    fi
    guest_way=source
}

# Runs `cargo build` for guests, in the way that find_guest_toolchain found.
cargo_build_guests() {
    local build=(cargo build --release --target wasm32-wasip2 "$@")
    # RUSTFLAGS would silently win over the target's own flags.
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
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
        *) return 1 ;;
    esac
}

# Whether version $2 is at least version $1.
version_at_least() {
    printf '%s\n%s\n' "$1" "$2" | sort --check=quiet --version-sort
}

# The first file of an installed Debian package whose path matches, or nothing.
first_file_of() {
    { dpkg -L "$1" 2>/dev/null || true; } | grep -E "$2" | head -n 1 || true
}
