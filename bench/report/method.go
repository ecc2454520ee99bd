// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report

// A chapter is part of the page on method. In its paragraphs, text between ` is code.
type chapter struct {
	Title      string
	Paragraphs []string
}

// method says how figures come about, in the page and in the document.
var method = []chapter{
	{"What is measured", []string{
		"Each server is a process of its own, built with the same flags and given the same number of event loops and the same GOMAXPROCS, and is new in every round. " +
			"A load generator in another process drives it over loopback from many source addresses and compares every byte that comes back with what has to come back.",
		"CPU time is the kernel's account of the server process, user and system, divided by the messages answered in the same time. System calls are counted by the kernel in a stretch " +
			"of their own, so that counting costs the timed one nothing; where the machine does not allow it, the figure is missing. Memory is what is resident; for each connection it is the growth since the server's start.",
		"Latency is from the moment a request was written to the last byte of its answer; in an open loop (`-rate`) from the moment it was due, whether or not it could be written then, so that a server that stalls is charged for everybody who waits.",
		"Rounds are interleaved: within a round every server meets the same machine within seconds, in an order shuffled by the seed. A ratio is taken within a round; what is shown is the median " +
			"of the ratios, and the interval that holds it at 95 %, from order statistics, without assumptions on their distribution. Where the interval holds 1, the comparison says ~: it cannot tell.",
	}},
	{"What survival means", []string{
		"`slow`: clients send and never read, others go on; survived if these are answered in time and the server's memory stays bounded. `half-close`: clients send 16 MiB, shut down their writing half " +
			"and expect the whole answer. `emfile`: more clients come than the server has descriptors for; survived if those from before are served all the time and new ones when the crowd has gone. " +
			"A server that is fast because it does not do this work is not faster at the same job.",
	}},
	{"How the others are written", []string{
		"Each server is a file that its library's author can judge in minutes: `bench/target` has this project's, the standard library's and gnet's, `bench/rivals` the others, at the versions listed above. " +
			"Where users know a tuning, the server has it, or a second entry of its own; claims quote the better entry. A service that a library does not have, or cannot have without losing bytes, is left out with the reason.",
		"evio and gev do not set TCP_NODELAY and offer no way to; all others do.",
	}},
	{"What is not measured", []string{
		"No network: loopback has no loss, no delay and no interrupts, and costs the kernel less than a network card, so a server's own share of the CPU time is larger here than behind one. " +
			"No application: what a service computes for a message would come on top for every server alike, and makes ratios smaller.",
		"With two CPUs, server and load generator share caches and the memory bus, and messages a second say as much of the generator as of the server. CPU time a message is the figure that carries over to other machines best. " +
			"How servers scale to many cores cannot be seen on this rig.",
		"Latency in a closed loop grows with what is in flight: it is not what a user would see at a given load. Take it from an open loop.",
	}},
	{"How to repeat it", []string{
		"`go run ./bench` is the first look, in under 90 seconds. `go run ./bench -servers all -scenarios all -rounds 15 -json FILE -html FILE` is everything; the command line of each run is listed with its rig. " +
			"`go run ./bench report FILE...` compares recorded runs over time.",
		"The checks of each run say what disturbed it: time taken by the host, throttling, other processes, a load generator near its limit, answers that were wrong. A run whose checks warn is not worth quoting.",
	}},
}
