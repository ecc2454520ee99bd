// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Peer is one of several programs that all talk to each other, each a client and a server on the same loops:
//
//	peer -listen 127.0.0.1:7001 127.0.0.1:7002 127.0.0.1:7003
//
// greets the peers named, answers their greetings, prints a line for each that it has heard in both ways, and exits when
// that was all. They may be started in any order; who is still missing after -timeout makes the exit 1. An address with a
// slash is the path of a unix socket. What is said is in mesh.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

func main() {
	listen := flag.String("listen", "", "`address` of this peer, by which the others know it")
	timeout := flag.Duration("timeout", 30*time.Second, "how long to try")
	loops := flag.Int("loops", 0, "event loops, 0 for one per CPU")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "Usage: peer -listen address [flags] peer...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *listen == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "peer: -listen names the address of this peer, the arguments are those of the others")
		os.Exit(2)
	}
	if err := run(*listen, flag.Args(), *loops, *timeout); err != nil {
		log.Fatal("peer: ", err)
	}
}

// run meets all peers.
func run(name string, peers []string, loops int, timeout time.Duration) error {
	r, err := reactor.New(reactor.Options{Loops: loops})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	m := newMesh(ctx, r, name, peers, cancel)
	if _, err := r.Listen(network(name), name, m.accept, nil); err != nil {
		return errors.Join(err, r.Close())
	}
	for _, p := range m.peers {
		m.dial(p)
	}
	err = r.Serve(ctx) // until the mesh is complete or the time is over; then what was said is sent
	return errors.Join(m.missing(), err)
}
