// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Target is the servers under test: the same services written for the reactor, for the standard library's goroutines and
// for gnet's engine, each as its users would write it. The benchmark starts it as a process of its own:
//
//	target SERVER SERVICE -listen NETWORK://ADDRESS -loops N [-buffer BYTES] [-size BYTES]
//
// Programs with other servers (bench/rivals) speak the same protocol; this page is its description.
//
// # Arguments
//
// SERVER is a name of the benchmark's -servers; one program may know several. SERVICE is one of
//
//	echo       tcp, unix, udp: sends back what it receives
//	frames     tcp, unix: a frame is a 4-byte big-endian length and that many bytes, at most 2 MiB; each frame is answered
//	           with the frame
//	fixed      tcp, unix: a frame is -size bytes; each is answered with itself
//	push       tcp, unix: echo, but what is read is handed to another goroutine of a pool (one goroutine for a
//	           connection, so that order is kept), which writes it back
//	broadcast  tcp, unix: frames as above; each frame from any connection is sent to every open connection, the sender's
//	           included, in one order for all
//
// -listen is tcp://127.0.0.1:PORT, udp://127.0.0.1:PORT or unix://PATH. The benchmark chooses the port, outside of the
// range from which the kernel takes ports for clients; if it proves taken, the program exits with 1 and is started with
// another.
//
// -loops N is the number of event loops. The environment has GOMAXPROCS=N for every server alike, as in a container
// with N CPUs.
//
// -buffer BYTES (4096) is the read buffer of a server that has one for each connection; the benchmark chooses what suits
// the scenario's messages. A server that has one for each loop uses 64 KiB. Options that a server's authors recommend are
// welcome, under a name of their own (gnet-batch beside gnet). TCP_NODELAY is on; buffers of the kernel stay at their
// defaults.
//
// # Life
//
// Once it accepts, the program prints one line on standard output:
//
//	listening tcp 127.0.0.1:23456
//
// (udp and its address, unix and its path.) Other lines are ignored, for some libraries log there. What it has to say
// goes to standard error; the benchmark shows the last lines of that when a server fails. On SIGTERM it ends within two
// seconds with exit 0, without draining; later it is killed.
//
// Exit codes: 1 it could not listen, 2 wrong arguments (SERVER unknown), 3 this SERVER does not have this SERVICE over
// this network. With 3 the last line of standard error is the reason, which the reports print: a figure that cannot be
// had is not zero.
//
// # Reading order
//
// main.go has the protocol; reactor.go, goroutine.go and gnet.go a server each, handoff.go and room.go what push and
// broadcast share; liar.go is a server that is wrong on purpose, to test the test.
package main
