//! A JDK (17 or later) and Maven: found, or on Debian and Ubuntu as root installed, or asked for in one sentence.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell::{root, run};

const RELEASE_MIN: u32 = 17;

/// What RocketMQ 5.3.3 needs to be let into on JDK 17.
const OPENS: [&str; 4] = [
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-exports=java.base/sun.security.action=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
];

pub(crate) struct Java {
    home: PathBuf,
}

impl Java {
    /// Finds both, installing what is missing where we may.
    pub(crate) fn find() -> Result<Java> {
        let (mut home, mut maven) = (jdk(), maven_runs());
        if home.is_none() || !maven {
            install(home.is_none(), maven)?;
            (home, maven) = (jdk(), maven_runs());
        }
        match home {
            Some(home) if maven => Ok(Java { home }),
            Some(_) => bail!("Maven was installed but `mvn` does not run"),
            None => {
                bail!("a JDK was installed but none of release {RELEASE_MIN} or later can be found")
            }
        }
    }

    /// Maven in compat/, saying only what matters.
    pub(crate) fn maven(&self) -> Command {
        self.maven_in(&compat())
    }

    /// The same in another project.
    pub(crate) fn maven_in(&self, project: &Path) -> Command {
        let mut command = Command::new("mvn");
        command.args([
            "--batch-mode",
            "--no-transfer-progress",
            "-Dstyle.color=never",
        ]);
        command
            .env("JAVA_HOME", &self.home)
            .env_remove("MAVEN_OPTS")
            .current_dir(project);
        command
    }

    /// A JVM with everything that compat/ depends on and has built; say the main class and arguments.
    pub(crate) fn program(&self, options: &[&str]) -> Result<Command> {
        let jars = fs::read_to_string(class_path_file()).context("compat/ is not built")?;
        let mut command = Command::new(self.home.join("bin/java"));
        command.args(OPENS).args(options);
        // In the environment, for on the command line it would hide everything else.
        command.env(
            "CLASSPATH",
            format!(
                "{}:{}",
                compat().join("target/classes").display(),
                jars.trim()
            ),
        );
        Ok(command)
    }

    /// Compiles compat/'s programs and writes down their class path, unless nothing changed since.
    pub(crate) fn build(&self) -> Result<()> {
        if !is_stale() {
            return Ok(());
        }
        run(self.maven().arg("--quiet").args([
            "compile",
            "dependency:build-classpath",
            &format!("-Dmdep.outputFile={}", class_path_file().display()),
        ]))
    }
}

/// Where the Spring Boot application is.
pub(crate) fn spring() -> PathBuf {
    compat().join("spring")
}

/// Where the Maven project is.
pub(crate) fn compat() -> PathBuf {
    root().join("compat")
}

fn class_path_file() -> PathBuf {
    compat().join("target/class-path.txt")
}

/// Whether a source, the pom or a jar is newer than, or missing from, what was built.
fn is_stale() -> bool {
    let Ok(text) = fs::read_to_string(class_path_file()) else {
        return true;
    };
    let Some(built) = modified(&class_path_file()) else {
        return true;
    };
    let sources = [compat().join("pom.xml"), compat().join("src/main")];
    text.trim().split(':').any(|jar| !Path::new(jar).exists())
        || sources.iter().any(|source| newer(source, built))
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}

fn newer(path: &Path, than: std::time::SystemTime) -> bool {
    if let Ok(entries) = fs::read_dir(path) {
        return entries.flatten().any(|entry| newer(&entry.path(), than));
    }
    modified(path).is_some_and(|modified| modified > than)
}

/// The home of the first JDK (with a compiler) that is new enough.
fn jdk() -> Option<PathBuf> {
    let mut homes: Vec<PathBuf> = std::env::var_os("JAVA_HOME")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    homes.extend(
        std::env::split_paths(&path)
            .filter_map(|directory| fs::canonicalize(directory.join("javac")).ok())
            .filter_map(|javac| Some(javac.parent()?.parent()?.to_owned())),
    );
    if let Ok(entries) = fs::read_dir("/usr/lib/jvm") {
        homes.extend(entries.flatten().map(|entry| entry.path()));
    }
    homes.into_iter().find(|home| {
        let release = fs::read_to_string(home.join("release")).unwrap_or_default();
        home.join("bin/javac").exists()
            && release_of(&release).is_some_and(|release| release >= RELEASE_MIN)
    })
}

/// The number in the line `JAVA_VERSION="17.0.15"` of a JDK's release file; `1.8.0` is 8.
fn release_of(text: &str) -> Option<u32> {
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("JAVA_VERSION="))?
        .trim_matches('"');
    version
        .strip_prefix("1.")
        .unwrap_or(version)
        .split('.')
        .next()?
        .parse()
        .ok()
}

fn maven_runs() -> bool {
    let mut command = Command::new("mvn");
    command
        .arg("-version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Without a Java of its own Maven can't even tell its version.
    if let Some(home) = jdk() {
        command.env("JAVA_HOME", home);
    }
    command.status().is_ok_and(|status| status.success())
}

fn install(jdk_missing: bool, maven_found: bool) -> Result<()> {
    let mut missing = Vec::new();
    if jdk_missing {
        missing.push("a JDK of release 17 or later");
    }
    if !maven_found {
        missing.push("Maven");
    }
    let missing = missing.join(" and ");
    let distribution = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !is_debian(&distribution) || !rustix::process::geteuid().is_root() {
        bail!(
            "the tests with real RocketMQ clients need {missing}. {}",
            advice(&distribution)
        );
    }
    println!("{missing} missing: installing from the distribution's packages");
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"];
    if jdk_missing && apt(&[&install[..], &["openjdk-17-jdk-headless"]].concat()).is_err() {
        // Releases that no longer carry 17 have a later one, which runs RocketMQ as well.
        apt(&[&install[..], &["default-jdk-headless"]].concat())?;
    }
    if maven_found {
        Ok(())
    } else {
        apt(&[&install[..], &["maven"]].concat())
    }
}

fn is_debian(os_release: &str) -> bool {
    os_release
        .lines()
        .filter_map(|line| {
            line.strip_prefix("ID=")
                .or_else(|| line.strip_prefix("ID_LIKE="))
        })
        .any(|ids| {
            ids.trim_matches('"')
                .split(' ')
                .any(|id| id == "debian" || id == "ubuntu")
        })
}

fn advice(os_release: &str) -> &'static str {
    if is_debian(os_release) {
        "Install them: sudo apt-get install openjdk-17-jdk-headless maven"
    } else {
        "Install JDK 17 and Maven 3 (Fedora: java-17-openjdk-devel maven; Arch: jdk17-openjdk maven; Homebrew: openjdk@17 maven), \
         set JAVA_HOME to the JDK and put mvn on PATH"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(
            release_of("IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\"17.0.15\"\n"),
            Some(17)
        );
        assert_eq!(release_of("JAVA_VERSION=\"1.8.0_452\"\n"), Some(8));
        assert_eq!(release_of("JAVA_VERSION=\"21\"\n"), Some(21));
        assert_eq!(release_of(""), None);
    }

    #[test]
    fn distributions() {
        assert!(is_debian("NAME=\"Debian\"\nID=debian\n"));
        assert!(is_debian("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian("ID=fedora\nID_LIKE=\"rhel\"\n"));
        assert!(advice("ID=ubuntu\n").contains("apt-get install"));
        assert!(advice("ID=fedora\n").contains("JAVA_HOME"));
    }
}
