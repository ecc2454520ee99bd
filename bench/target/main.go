// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// What the program's exit says.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnsupported = 3
)

// A config is the command line.
type config struct {
	service string
	network string // tcp, udp or unix
	address string
	loops   int
	buffer  int
	size    int
}

// maxFrame bounds the payload of a frame.
const maxFrame = 2 << 20

// framePrefix is how many bytes a frame's length takes.
const framePrefix = 4

// A server serves until it cannot. It calls listening once it accepts.
type server func(c config, listening func()) error

var servers = map[string]server{"reactor": serveReactor, "goroutine": serveGoroutine, "gnet": serveGnet, "gnet-batch": serveGnetBatch, "liar": serveLiar}

// An unsupported says why a server does not have the service over the network.
type unsupported string

func (u unsupported) Error() string { return string(u) }

// noService is the reason when there is nothing more to say.
func noService(c config) error {
	return unsupported("has no " + c.service + " over " + c.network)
}

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-stop
		os.Exit(0) // nothing is drained: who measures is done
	}()
	serve, c, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "target:", err)
		os.Exit(exitUsage)
	}
	err = serve(c, func() { fmt.Println("listening", c.network, c.address) })
	var reason unsupported
	switch {
	case errors.As(err, &reason):
		fmt.Fprintln(os.Stderr, reason)
		os.Exit(exitUnsupported)
	case err != nil:
		fmt.Fprintln(os.Stderr, "target:", err)
		os.Exit(exitFailed)
	}
}

func parse(args []string) (server, config, error) {
	var c config
	if len(args) < 2 {
		return nil, c, errors.New("want SERVER SERVICE -listen NETWORK://ADDRESS [flags]")
	}
	serve, ok := servers[args[0]]
	if !ok {
		return nil, c, fmt.Errorf("unknown SERVER %q", args[0])
	}
	c.service = args[1]
	f := flag.NewFlagSet("target", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	url := f.String("listen", "", "")
	f.IntVar(&c.loops, "loops", 1, "")
	f.IntVar(&c.buffer, "buffer", 4096, "")
	f.IntVar(&c.size, "size", 16, "")
	if err := f.Parse(args[2:]); err != nil {
		return nil, c, err
	}
	c.network, c.address, ok = strings.Cut(*url, "://")
	if !ok || c.loops < 1 || c.buffer < 1 || c.size < 1 {
		return nil, c, fmt.Errorf("-listen %q -loops %d -buffer %d -size %d: want NETWORK://ADDRESS and positive numbers", *url, c.loops, c.buffer, c.size)
	}
	return serve, c, nil
}
