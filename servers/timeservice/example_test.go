// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package timeservice_test

import (
	"context"
	"log"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/servers/timeservice"
)

func Example() {
	r, err := reactor.New(reactor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := r.Listen("tcp", ":37", timeservice.Stream, nil); err != nil {
		log.Fatal(err)
	}
	if _, err := r.ListenPacket("udp", ":37", reactor.PacketFunc(timeservice.Datagram), nil); err != nil {
		log.Fatal(err)
	}
	log.Println(r.Serve(context.Background()))
}
