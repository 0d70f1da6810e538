//! Variables that have a program execute other code than its file's.

/// What every dynamically linked program obeys.
const LINKER: &[&str] = &["LD_*"];

/// What libraries and interpreters obey, too. Where the content of an executable is looked at, it is
/// of little use that another one is loaded into it. No such list is whole: each library may have
/// variables of its own.
const LIBRARIES: &[&str] = &[
    // What glibc takes from set-user-ID programs (sysdeps/generic/unsecvars.h), but for TMPDIR and
    // TZDIR, which name no code, and the sizes of malloc.
    "ARGP_HELP_FMT",
    "DATEMSK",
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "GMON_OUT_PREFIX",
    "HESIOD_CONFIG",
    "HES_DOMAIN",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "LOCPATH",
    "MALLOC_TRACE",
    "NIS_PATH",
    "NLSPATH",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    // Libraries that load modules.
    "GIO_EXTRA_MODULES",
    "GIO_MODULE_DIR",
    "GST_PLUGIN_*",
    "GTK_MODULES",
    "GTK_PATH",
    "KRB5_CONFIG",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "QT_PLUGIN_PATH",
    "SASL_CONF_PATH",
    "SASL_PATH",
    // Interpreters and machines.
    "BASH_ENV",
    "BASH_FUNC_*",
    "CLASSPATH",
    "CORECLR_*",
    "COR_*",
    "DOTNET_*",
    "ENV",
    "ERL_*",
    "GEM_*",
    "GUILE_*",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LUA_*",
    "NODE_*",
    "PERL*",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PYTHON*",
    "RUBY*",
    "R_ENVIRON*",
    "R_PROFILE*",
    "SHELLOPTS",
    "TCLLIBPATH",
    "_JAVA_OPTIONS",
];

/// What may not be set where executables are limited and the owner says nothing of variables;
/// `held`: the content of one is looked at.
pub(super) fn forbidden(held: bool) -> Vec<&'static str> {
    let libraries = if held { LIBRARIES } else { &[] };
    LINKER.iter().chain(libraries).copied().collect()
}
