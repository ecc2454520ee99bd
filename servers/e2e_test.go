// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build e2e

package main_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The clients that people have at hand, on streams.
func TestRealClients(t *testing.T) {
	tcp, unix := "tcp://127.0.0.1:0", "unix://"+socketPath(t)
	for _, test := range []struct {
		service, url string
		client       string // a command of the shell, with the address as $address, $host and $port
		input, want  string
	}{
		{"echo", tcp, "nc -N $host $port", "how do you do\n", "how do you do\n"},
		{"echo", tcp, "socat -t 10 - TCP:$address", "how do you do\n", "how do you do\n"},
		{"echo", unix, "nc -N -U $address", "how do you do\n", "how do you do\n"},
		{"echo", unix, "socat -t 10 - UNIX-CONNECT:$address", "how do you do\n", "how do you do\n"},
		{"echo", tcp, "nc -N $host $port", strings.Repeat("0123456789abcdef", 1<<18), strings.Repeat("0123456789abcdef", 1<<18)},
		{"echo", tcp, "socat -t 10 - TCP:$address", strings.Repeat("0123456789abcdef", 1<<18), strings.Repeat("0123456789abcdef", 1<<18)},
		{"message", tcp, "nc -N $host $port", "0123456789abcdef", "Hello World!"},
		{"message", tcp, "nc -N $host $port", "0123456789", ""},
		{"message", tcp, "socat -t 10 - TCP:$address", "0123456789abcdefghij", "Hello World!"},
		{"message", unix, "socat -t 10 - UNIX-CONNECT:$address", "0123456789abcdef", "Hello World!"},
		{"daytime", tcp, "nc -d $host $port | grep -c UTC", "", "1\n"},
		{"chargen", tcp, "nc -d $host $port | head -c 8", "", " !\"#$%&'"},
	} {
		name, _, _ := strings.Cut(test.client, " ")
		network, _, _ := strings.Cut(test.url, ":")
		t.Run(strings.Join([]string{test.service, network, name}, "/"), func(t *testing.T) {
			needTool(t, name)
			s := start(t, test.service, "-listen", test.url)
			require.Equal(t, test.want, s.askWith(test.client, test.input))
			s.stop()
		})
	}
}

// The services on UDP, to the letter. Both clients send what they read as one datagram and connect their sockets: they
// hear only the address that they asked.
func TestRealDatagramClients(t *testing.T) {
	is := func(want string) func(*testing.T, string, time.Time) {
		return func(t *testing.T, got string, _ time.Time) { require.Equal(t, want, got) }
	}
	line := make([]byte, 74)
	_, _ = new(chargen).Read(line)
	datagram := strings.Repeat("0123456789abcdef", 92) // what fits into an Ethernet frame
	for _, test := range []struct {
		service, listen, host string
		input                 string
		check                 func(t *testing.T, got string, began time.Time)
	}{
		{"echo", "udp://127.0.0.1:0", "127.0.0.1", datagram, is(datagram)},
		{"echo", "udp://:0", "127.0.0.1", datagram, is(datagram)},
		{"echo", "udp4://:0", "127.0.0.2", datagram, is(datagram)},
		{"discard", "udp://127.0.0.1:0", "127.0.0.1", datagram, is("")},
		{"chargen", "udp://127.0.0.1:0", "127.0.0.1", "?", is(string(line))},
		{"daytime", "udp://127.0.0.1:0", "127.0.0.1", "?", func(t *testing.T, got string, began time.Time) {
			checkDaytime(t, began, []byte(got))
		}},
		{"time", "udp://127.0.0.1:0", "127.0.0.1", "?", func(t *testing.T, got string, began time.Time) {
			checkTime(t, began, []byte(got))
		}},
		{"udp-reply", "udp://127.0.0.1:0", "127.0.0.1", datagram, is("The msg was 1472 bytes long")},
		{"udp-reply", "udp://:0", "127.0.0.2", "hello", is("The msg was 5 bytes long")},
	} {
		for name, client := range map[string]string{"nc": "nc -u -w 2 $host $port", "socat": "socat -t 2 - UDP:$address"} {
			t.Run(strings.Join([]string{test.service, test.listen, test.host, name}, " "), func(t *testing.T) {
				t.Parallel() // most of it is waiting for more
				needTool(t, name)
				s := start(t, test.service, "-listen", test.listen)
				_, port, err := net.SplitHostPort(s.addrs[0])
				require.NoError(t, err)
				s.addrs[0] = net.JoinHostPort(test.host, port)
				began := time.Now()
				test.check(t, s.askWith(client, test.input), began)
				s.stop()
			})
		}
	}
}

// needTool skips the test where a program is missing, but not in CI.
func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "%v", err)
		t.Skip(err)
	}
}

// askWith gives input to a command of the shell, with the server's first address as $address, $host and $port, and
// returns what it printed.
func (s *server) askWith(command, input string) string {
	s.t.Helper()
	client := exec.Command("timeout", "30", "sh", "-c", command)
	host, port, _ := net.SplitHostPort(s.addrs[0])
	client.Env = append(os.Environ(), "address="+s.addrs[0], "host="+host, "port="+port)
	client.Stdin = strings.NewReader(input)
	got, err := client.Output()
	require.NoError(s.t, err)
	return string(got)
}
