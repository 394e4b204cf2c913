//! The shell: sockets, clocks, threads and tasks around the cores.
