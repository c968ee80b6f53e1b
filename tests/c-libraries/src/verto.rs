//! libverto's modules, in a folder in which libverto looks for them.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::TempDir;

/// A folder with libverto, the library that the tests are linked with, and the module for it.
pub struct Modules {
    folder: TempDir,
    oneloop: String,
}

impl Modules {
    /// Builds the module, as `install.sh` does.
    ///
    /// # Panics
    ///
    /// If it cannot be built.
    pub fn build() -> Modules {
        let folder = TempDir::new().expect("a temporary folder");
        // Cargo puts it where it puts the tests.
        let test = std::env::current_exe().expect("the test's path");
        let library = test.with_file_name("liboneloop_c.so");
        for name in ["liboneloop.so", "liboneloop.so.0"] {
            symlink(&library, folder.path().join(name)).expect("a link");
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../adapters/c/verto/build.sh");
        let built = Command::new(script).arg(folder.path()).status();
        assert!(built.expect("a shell").success());
        let oneloop = folder.path().join("libverto-oneloop.so");
        let modules = Modules {
            oneloop: oneloop.to_str().expect("a path").to_owned(),
            folder,
        };
        modules.add("libverto.so.1");
        modules
    }

    /// The path of the module for oneloop.
    pub fn oneloop(&self) -> &str {
        &self.oneloop
    }

    /// As LD_LIBRARY_PATH it makes libverto look here, and find no modules but those that are here.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts one of the system's libraries into the folder.
    ///
    /// # Panics
    ///
    /// If it is not installed.
    pub fn add(&self, name: &str) {
        let folder = pkg_config_variable("libdir");
        let library = Path::new(&folder).join(name);
        assert!(library.exists(), "{name} (tests/all.sh installs it)");
        symlink(library, self.folder.path().join(name)).expect("a link");
    }
}

fn pkg_config_variable(name: &str) -> String {
    let mut ask = Command::new("pkg-config");
    ask.args(["libverto", &format!("--variable={name}")]);
    let said = ask.output().expect("pkg-config").stdout;
    String::from_utf8(said).expect("a path").trim().to_owned()
}
