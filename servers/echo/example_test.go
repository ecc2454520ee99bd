// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package echo_test

import (
	"context"
	"log"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/servers/echo"
)

func Example() {
	r, err := reactor.New(reactor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := r.Listen("tcp", ":7", echo.Stream, nil); err != nil {
		log.Fatal(err)
	}
	if _, err := r.ListenPacket("udp", ":7", reactor.PacketFunc(echo.Datagram), nil); err != nil {
		log.Fatal(err)
	}
	log.Println(r.Serve(context.Background()))
}
