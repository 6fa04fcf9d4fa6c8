//! The guests of the host's tests: each example of this crate is one small plugin with one purpose,
//! which its first line tells. `scripts/build-guests OUTDIR --examples ennio-test-guests` makes
//! components of them; natively they only have to compile.
