//! Other programs that speak TLS, where they are there: `openssl` and `curl`.

use crate::secured::{Secured, pem};
use hostdir::connection::Identity;
use std::io::Write;
use std::process::{Command, Stdio};

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg(if program == "openssl" { "version" } else { "--version" }).output().is_ok();
    if !found {
        eprintln!("SKIPPED: there is no {program}");
    }
    found
}

/// What a program says that reads `input`.
fn say(command: &mut Command, input: &[u8]) -> Vec<u8> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn openssl_speaks_tls_1_3_and_1_2_with_it_and_nothing_older() {
    if !is_there("openssl") {
        return;
    }
    let tls = Secured::new();
    let connect = |version: &str| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &tls.address().to_string(), version]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for (version, name) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let (worked, said) = connect(version);
        assert!(worked && said.contains(&format!("New, {name}")), "{said}");
    }
    let (worked, said) = connect("-tls1_1");
    assert!(!worked && !said.contains("New, TLSv1.1"), "{said}");
}

#[test]
fn the_fingerprint_is_what_openssl_makes_of_the_key() {
    if !is_there("openssl") {
        return;
    }
    let (certificate, key) = pem();
    let shown = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap().fingerprint().to_string();
    let public = say(Command::new("openssl").args(["x509", "-pubkey", "-noout"]), certificate.as_bytes());
    let der = say(Command::new("openssl").args(["pkey", "-pubin", "-outform", "der"]), &public);
    let hash = say(Command::new("openssl").args(["dgst", "-sha256", "-binary"]), &der);
    let base64 = String::from_utf8(say(Command::new("openssl").args(["base64"]), &hash)).unwrap();
    assert_eq!(shown, format!("sha256//{}", base64.trim()));
}

#[test]
fn curl_takes_the_fingerprint_as_it_is() {
    if !is_there("curl") {
        return;
    }
    let tls = Secured::new();
    let connect = |key: &str| {
        let url = format!("https://{}/", tls.address());
        let output =
            Command::new("curl").args(["-sk", "--max-time", "30", "--pinnedpubkey", key, &url]).output().unwrap();
        output.status.code().unwrap()
    };
    // 90: the key is another one. Whatever else it says comes after the key was found to be right.
    assert_ne!(connect(&tls.key().to_string()), 90);
    assert_eq!(connect(&crate::secured::other_identity().fingerprint().to_string()), 90);
}
