//! Isolated processes: namespaces, cgroups, seccomp, Landlock.
