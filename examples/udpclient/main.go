// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Udpclient asks a server that tells how long datagrams are, and does not despair of the first that is lost:
//
//	go run ./servers udp-reply
//	go run ./examples/udpclient hello 'how do you do'
//
// Each argument is a request; it prints the replies, a line for each. Without one in time it says so and exits with 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/quartet-go/quartet/reactor/exchange"
)

func main() { os.Exit(run()) }

func run() int {
	to := flag.String("to", "127.0.0.1:1060", "`address` of the server")
	first := flag.Duration("first", exchange.DefaultFirst, "how long the first try waits; each other waits twice as long as the one before")
	limit := flag.Duration("limit", exchange.DefaultLimit, "a try that would wait longer than this is not made")
	timeout := flag.Duration("timeout", 0, "how long all requests together may take; 0 sets no bound")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "Usage: udpclient [flags] request...")
		flag.PrintDefaults()
	}
	flag.Parse()
	requests := flag.Args()
	if len(requests) == 0 {
		requests = []string{"Is anybody there?"}
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *timeout != 0 {
		ctx, stop = context.WithTimeout(ctx, *timeout)
		defer stop()
	}
	if err := ask(ctx, *to, requests, exchange.Backoff{First: *first, Limit: *limit}); err != nil {
		fmt.Fprintln(os.Stderr, "udpclient:", err)
		return 1
	}
	return 0
}

// ask prints the replies to all requests.
func ask(ctx context.Context, to string, requests []string, b exchange.Backoff) error {
	c, err := exchange.Dial(ctx, "udp", to, &exchange.Options{Backoff: b, Match: tellsLength})
	if err != nil {
		return err
	}
	defer c.Close()
	for _, request := range requests {
		reply, err := c.Do(ctx, []byte(request))
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", reply)
	}
	return nil
}

// tellsLength says whether the reply is about a request as long as this one. Requests here have no number by which
// they could be told apart; those of one length have the same reply anyway.
func tellsLength(request, reply []byte) bool {
	return string(reply) == fmt.Sprintf("The msg was %d bytes long", len(request))
}
