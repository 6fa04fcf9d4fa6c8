//! Makes `ennio plugin new` embed what is in these folders now: rustc sees changes of the files that it
//! embedded, cargo has to be told of those that are added.

fn main() {
    for folder in ["templates/plugin", "../plugins/sdk", "../wit"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
