// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Chat is a server for rooms of thousands: what a member says, all of its room read, in one order. Who reads too slowly
// misses lines or is dropped, and never holds more than -max-output in the server.
//
//	go run ./examples/chat &
//	nc 127.0.0.1 1060
//
// Lines that begin with a slash are commands: /join ROOM, /nick NAME, /who. What the server itself says begins with an
// asterisk. hall.go is the rooms, member.go is one connection.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/quartet-go/quartet/reactor"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:1060", "`address` to listen on, tcp")
	loops := flag.Int("loops", 0, "`N` event loops, 0 for one per CPU")
	slow := flag.String("slow", "skip", "what becomes of members who read too slowly: `skip` lines, or drop the member")
	maxOutput := flag.Int("max-output", 256<<10, "`bytes` that may wait for one member")
	flag.Parse()
	if flag.NArg() > 0 || *slow != "skip" && *slow != "drop" || *maxOutput < 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := serve(*listen, *loops, *maxOutput, *slow == "drop"); err != nil {
		log.Fatal(err)
	}
}

func serve(listen string, loops, maxOutput int, drop bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := reactor.New(reactor.Options{Loops: loops})
	if err != nil {
		return err
	}
	// A member who is behind is still listened to: there is no reason to stop reading below the limit.
	lis, err := r.Listen("tcp", listen, newHall(r, drop).enter, &reactor.StreamOptions{MaxOutput: maxOutput, HighWater: maxOutput})
	if err != nil {
		return err
	}
	fmt.Println("listening", lis)
	return r.Serve(ctx)
}
