// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package trace_test

import (
	"log"
	"net/netip"
	"os"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/trace"
)

func ExampleStory() {
	tuple := reactor.FourTuple{Local: netip.MustParseAddrPort("192.0.2.1:7"), Remote: netip.MustParseAddrPort("192.0.2.2:40000")}
	events := []reactor.TraceEvent{ // reactor.Trace.Events would have them
		{Kind: reactor.TraceReady, At: 42 * time.Microsecond, Duration: 9 * time.Microsecond, Conn: 16777223, Tuple: tuple, N: reactor.TraceReadable},
		{Kind: reactor.TraceRead, At: 44 * time.Microsecond, Conn: 16777223, Tuple: tuple, N: 5, Of: 65536},
		{Kind: reactor.TraceWrite, At: 49 * time.Microsecond, Conn: 16777223, Tuple: tuple, N: 5, Of: 5},
	}
	if err := trace.Story(os.Stdout, events); err != nil {
		log.Fatal(err)
	}
	// Output:
	//     0.000042  loop 0   reported readable, 9µs  [192.0.2.1:7<-192.0.2.2:40000 16777223]
	//     0.000044  loop 0     read 5 bytes, with room for 65536  [192.0.2.1:7<-192.0.2.2:40000 16777223]
	//     0.000049  loop 0     wrote 5 of 5 bytes  [192.0.2.1:7<-192.0.2.2:40000 16777223]
}
