//! What the command line says of itself, without an agent and without touching anything.

use crate::support::Home;
use crate::support::home::entries;

#[test]
fn help_and_version_are_there_without_an_agent() {
    let home = Home::new();
    let version = home.run(&["--version"]).succeeds().stdout;
    assert_eq!(version, format!("evercert {}\n", env!("CARGO_PKG_VERSION")));
    for verb in [
        &["agent"][..],
        &["status"],
        &["renew"],
        &["env"],
        &["config", "check"],
        &["config", "path"],
        &["ca", "public-key"],
    ] {
        let help = home.run(&[verb, &["--help"]].concat()).succeeds().stdout;
        assert!(help.contains("Example"), "no example for {verb:?}: {help}");
    }
    home.run(&["agnt"]).exits(2);
    home.run(&["status", "--jsn"]).exits(2);
    let nothing: Vec<_> = entries(home.path());
    assert!(nothing.is_empty(), "made by asking for help: {nothing:?}");
}
