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

	"github.com/stretchr/testify/require"
)

// The clients that people have at hand.
func TestRealClients(t *testing.T) {
	tcp, unix, udp := "tcp://127.0.0.1:0", "unix://"+socketPath(t), "udp://127.0.0.1:0"
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
		{"echo", udp, "nc -u -w 1 $host $port", "how do you do\n", "how do you do\n"},
		{"message", tcp, "nc -N $host $port", "0123456789abcdef", "Hello World!"},
		{"message", tcp, "nc -N $host $port", "0123456789", ""},
		{"message", tcp, "socat -t 10 - TCP:$address", "0123456789abcdefghij", "Hello World!"},
		{"message", unix, "socat -t 10 - UNIX-CONNECT:$address", "0123456789abcdef", "Hello World!"},
		{"udp-reply", udp, "nc -u -w 1 $host $port", "hello", "The msg was 5 bytes long"},
		{"udp-reply", udp, "socat -t 1 - UDP:$address", "hello", "The msg was 5 bytes long"},
		{"daytime", tcp, "nc -d $host $port | grep -c UTC", "", "1\n"},
		{"chargen", tcp, "nc -d $host $port | head -c 8", "", " !\"#$%&'"},
	} {
		name, _, _ := strings.Cut(test.client, " ")
		network, _, _ := strings.Cut(test.url, ":")
		t.Run(strings.Join([]string{test.service, network, name}, "/"), func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				require.NotEqual(t, "true", os.Getenv("CI"), "%v", err)
				t.Skip(err)
			}
			s := start(t, test.service, "-listen", test.url)
			client := exec.Command("timeout", "30", "sh", "-c", test.client)
			host, port, _ := net.SplitHostPort(s.addrs[0])
			client.Env = append(os.Environ(), "address="+s.addrs[0], "host="+host, "port="+port)
			client.Stdin = strings.NewReader(test.input)
			got, err := client.Output()
			require.NoError(t, err)
			require.Equal(t, test.want, string(got))
			s.stop()
		})
	}
}
