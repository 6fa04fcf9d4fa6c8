//! The working day of who writes plugins: `plugin new`, `build`, `check`, `dev`, in three languages,
//! with the tools that `make setup` installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::json;

use crate::harness::{Plugins, Setup, ennio, event, eventually};

const ROLES: [&str; 3] = ["filter", "enricher", "reaction"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

fn run(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.code().unwrap(), text)
}

/// A folder in which somebody makes plugins.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn ennio(&self, arguments: &[&str]) -> (i32, String) {
        run(self.in_it(ennio()).arg("plugin").args(arguments))
    }

    /// Commands find the crates and the tools that are here already, and fetch nothing.
    fn in_it(&self, mut command: Command) -> Command {
        command
            .current_dir(self.0.path())
            .env("CARGO_TARGET_DIR", workspace().join("target/guests"))
            .env("CARGO_NET_OFFLINE", "true");
        command
    }

    fn make(&self, name: &str, language: &str, role: &str) {
        let (code, said) = self.ennio(&["new", name, "--lang", language, "--role", role]);
        assert_eq!(code, 0, "{said}");
        // What the first build would fetch.
        let folder = self.folder(name);
        let tools = workspace().join("target/tools");
        match language {
            "rust" => {
                let lock = "Cargo.lock";
                fs::copy(workspace().join(lock), folder.join(lock)).map(|_| ()).unwrap();
            }
            "javascript" => {
                link(&tools.join("javascript/node_modules"), &folder.join("node_modules"))
            }
            _ => link(&tools.join("python"), &folder.join(".venv")),
        }
    }
}

fn link(there: &Path, here: &Path) {
    assert!(there.exists(), "{} is not there (run `make setup`)", there.display());
    std::os::unix::fs::symlink(there, here).unwrap();
}

/// Makes a project of each role, tests it, builds it, and has a host run all three.
async fn from_nothing_to_a_running_plugin(language: &str, test: &[&str]) {
    let desk = Desk::new();
    let plugins = Plugins::new();
    for role in ROLES {
        let name = format!("my-{role}");
        desk.make(&name, language, role);
        let (program, arguments) = test.split_first().unwrap();
        let mut tests = desk.in_it(Command::new(program));
        let (code, said) = run(tests.args(arguments).current_dir(desk.folder(&name)));
        assert_eq!(code, 0, "{said}");

        let out = plugins.file(&format!("{name}.wasm"));
        let (code, said) = desk.ennio(&["build", &name, "--out", out.to_str().unwrap()]);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(&format!("{}: {role} 0.1.0, ", out.display())), "{said}");
        for file in ["wasm", "toml"] {
            let built = desk.folder(&name).join(format!("dist/{name}.{file}"));
            let placed = plugins.file(&format!("{name}.{file}"));
            assert_eq!(fs::read(built).unwrap(), fs::read(placed).unwrap());
        }
    }

    let empty = Plugins::new();
    let setup = Setup::new().plugins(empty.path());
    let host = setup.start();
    for role in ROLES {
        let name = format!("my-{role}");
        for file in [format!("{name}.toml"), format!("{name}.wasm")] {
            empty.write(&file, fs::read(plugins.file(&file)).unwrap());
        }
        let plugin = host.plugin_where(&name, &name, |plugin| plugin["loads"] == 1).await;
        assert_eq!(plugin["roles"], json!([role]));
    }
    let mut noise = event("activity_changed");
    noise["message"] = "debug: tick".into();
    assert_eq!(host.publish(&noise).await.1["status"], "dropped");
    let mut urgent = event("ci_failing");
    urgent["priority"] = "urgent".into();
    urgent["message"] = "main is red".into();
    assert_eq!(host.publish(&urgent).await.1["status"], "accepted");
    host.settled().await;
    let log = host.events().await;
    assert_eq!(log[0]["drop_reason"], "begins with debug:");
    assert_eq!(log[1]["data"], json!({"owner": "platform"}));
    assert_eq!(
        json!([log[2]["event_type"], log[2]["message"], log[2]["data"]["seq"]]),
        json!(["custom.page", "on-call: ci_failing: main is red", 2])
    );
    assert_eq!(log.len(), 3, "a page is not paged about");
}

#[tokio::test]
async fn a_new_plugin_in_rust_tests_builds_and_runs_at_once() {
    from_nothing_to_a_running_plugin("rust", &["cargo", "test"]).await;
}

#[tokio::test]
async fn a_new_plugin_in_javascript_tests_builds_and_runs_at_once() {
    from_nothing_to_a_running_plugin("javascript", &["npm", "test"]).await;
}

#[tokio::test]
async fn a_new_plugin_in_python_tests_builds_and_runs_at_once() {
    from_nothing_to_a_running_plugin("python", &["python3", "-m", "unittest"]).await;
}

#[test]
fn nothing_is_made_under_a_bad_name_or_over_what_is_there() {
    let desk = Desk::new();
    for name in ["Quiet", "2nd", "a_b", "a/b", "..", "match"] {
        let (code, said) = desk.ennio(&["new", name]);
        assert_eq!(code, 1, "{name}: {said}");
        assert!(said.contains("cannot be a new plugin's name"), "{name}: {said}");
    }
    assert_eq!(fs::read_dir(desk.0.path()).unwrap().count(), 0, "nothing is left behind");

    fs::create_dir(desk.folder("taken")).unwrap();
    let (code, said) = desk.ennio(&["new", "taken"]);
    assert_eq!(code, 1);
    assert!(said.contains("taken is already there, and nothing is overwritten"), "{said}");
    assert_eq!(fs::read_dir(desk.folder("taken")).unwrap().count(), 0);
    let (code, said) = desk.ennio(&["new", "taken", "--dir", "no/such/folder"]);
    assert_eq!(code, 1);
    assert!(said.contains("no/such: No such file"), "{said}");
}

#[test]
fn a_build_that_cannot_be_says_what_it_looked_for() {
    let desk = Desk::new();
    fs::create_dir(desk.folder("empty")).unwrap();
    let (code, said) = desk.ennio(&["build", "empty"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("no Cargo.toml (Rust), no package.json (JavaScript) and no pyproject.toml"),
        "{said}"
    );
    let (code, said) = desk.ennio(&["build", "nowhere"]);
    assert_eq!(code, 1);
    assert!(said.contains("nowhere: there is no such folder"), "{said}");

    // Without the tools, it says which, and how they are had.
    for (language, missing) in [
        ("rust", "nothing here can compile Rust to WebAssembly: there is no rustc (install"),
        ("javascript", "npm is missing, which JavaScript plugins are built with ("),
        ("python", "python3 is missing, which Python plugins are built with ("),
    ] {
        let (code, said) = desk.ennio(&["new", language, "--lang", language]);
        assert_eq!(code, 0, "{said}");
        let mut build = desk.in_it(ennio());
        let (code, said) = run(build.args(["plugin", "build", language]).env("PATH", "/nowhere"));
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(missing), "{said}");
    }
}

#[test]
fn what_a_compiler_says_is_passed_on_and_a_component_that_no_host_would_load_is_none() {
    let desk = Desk::new();
    desk.make("broken", "rust", "filter");
    let source = desk.folder("broken/src/lib.rs");
    let good = fs::read_to_string(&source).unwrap();
    fs::write(&source, good.replace("Verdict::Keep", "Verdict::Kept")).unwrap();
    let (code, said) = desk.ennio(&["build", "broken"]);
    assert_eq!(code, 1);
    assert!(said.contains("named `Kept` found for enum `Verdict`"), "{said}");
    assert!(said.contains("`cargo build --lib") && said.contains("failed with"), "{said}");

    fs::write(&source, good).unwrap();
    fs::write(desk.folder("broken/broken.toml"), "[config]\nprefx = \"debug:\"\n").unwrap();
    let out = desk.folder("broken.wasm");
    let (code, said) = desk.ennio(&["build", "broken", "--out", out.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(said.contains("it was built, but would not be loaded"), "{said}");
    assert!(said.contains("configure: ") && said.contains("prefx"), "{said}");
    assert!(!out.exists());
}

#[tokio::test]
async fn every_change_is_tested_built_and_loaded_and_a_bad_one_leaves_what_runs() {
    let desk = Desk::new();
    desk.make("edited", "rust", "filter");
    let plugins = Plugins::new();
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let source = desk.folder("edited/src/lib.rs");
    let first = fs::read_to_string(&source).unwrap();
    let said = desk.folder("dev.log");
    let mut dev = desk.in_it(ennio());
    dev.args(["plugin", "dev", "edited", "--url", &host.url]).stdin(Stdio::null());
    let mut dev = dev.stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
    let says = async |what: &str| {
        eventually(what, async || fs::read_to_string(&said).unwrap().contains(what).then_some(()))
            .await;
    };

    host.plugin_where("edited", "the first version", |plugin| plugin["loads"] == 1).await;
    says("edited 0.1.0: loaded, running").await;
    let mut tick = event("activity_changed");
    tick["message"] = "debug: tick".into();
    assert_eq!(host.publish(&tick).await.1["status"], "dropped");

    // A test of the project fails: nothing is built.
    fs::write(&source, first.replace("starts_with", "ends_with")).unwrap();
    says("`cargo test` failed").await;
    assert_eq!(host.plugin("edited").await.unwrap()["loads"], 1);

    // And works again, doing something else.
    fs::write(&source, first.replace("begins with", "starts with")).unwrap();
    host.plugin_where("edited", "the second version", |plugin| plugin["loads"] == 2).await;
    let (_, receipt) = host.publish(&tick).await;
    let path = format!("/v1/events/{}", receipt["id"].as_str().unwrap());
    assert_eq!(host.get(&path).await.1["drop_reason"], "starts with debug:");

    // Ctrl-C is how it ends.
    run(Command::new("kill").args(["-INT", &dev.id().to_string()]));
    assert_eq!(dev.wait().unwrap().code(), Some(0), "{}", fs::read_to_string(said).unwrap());
}

#[test]
fn dev_wants_a_host_or_a_folder_and_says_so() {
    let desk = Desk::new();
    desk.make("quiet", "python", "filter");
    let (code, said) = desk.ennio(&["dev", "quiet", "--url", "http://127.0.0.1:1"]);
    assert_eq!(code, 1);
    assert!(said.contains("no host answers at http://127.0.0.1:1"), "{said}");
    let setup = Setup::new();
    let host = setup.start();
    let (code, said) = desk.ennio(&["dev", "quiet", "--url", &host.url]);
    assert_eq!(code, 1);
    assert!(said.contains("has no plugin folder"), "{said}");
}

/// The page teaches what works: its code is the templates', which the tests above build and run.
#[test]
fn the_code_on_the_page_is_the_code_that_new_makes() {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let desk = Desk::new();
    for (language, files) in [
        ("rust", vec!["src/lib.rs", "quiet.toml"]),
        ("javascript", vec!["plugin.js", "logic.js"]),
        ("python", vec!["app.py", "logic.py"]),
    ] {
        let (code, said) = desk.ennio(&["new", "quiet", "--lang", language, "--dir", language]);
        assert_eq!(code, 0, "{said}");
        for file in files {
            let text = fs::read_to_string(desk.folder(language).join(file)).unwrap();
            // The page leaves the tests out.
            let code = text.split("\n#[cfg(test)]").next().unwrap();
            assert!(readme.contains(&format!("\n{code}```")), "{language}: {file} in README.md");
        }
    }
}
