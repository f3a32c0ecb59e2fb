// Checks docs/samples/layout.go: first by the vectors, then it publishes each line of its input to a real Redis.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"check/layout"
)

type client struct {
	to   net.Conn
	from *bufio.Reader
}

// Enough of Redis' protocol for two commands.
func (c client) ask(parts ...string) ([]byte, error) {
	fmt.Fprintf(c.to, "*%d\r\n", len(parts))
	for _, part := range parts {
		fmt.Fprintf(c.to, "$%d\r\n%s\r\n", len(part), part)
	}
	line, err := c.from.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if line[0] == '-' {
		return nil, errors.New(line[1:])
	}
	size, err := strconv.Atoi(line[1:])
	if err != nil || size < 0 {
		return nil, err
	}
	value := make([]byte, size+2)
	_, err = io.ReadFull(c.from, value)
	return value[:size], err
}

func (c client) enter(password string) error {
	fmt.Fprintf(c.to, "AUTH %s\r\n", password)
	_, err := c.from.ReadString('\n')
	return err
}

func (c client) Get(key string) ([]byte, error) { return c.ask("GET", key) }

func (c client) XAdd(stream string, document []byte) (string, error) {
	entry, err := c.ask("XADD", stream, "*", "event", string(document))
	return string(entry), err
}

type vectors struct {
	Apps []struct {
		App       string
		Partition map[string]uint32
	}
	Channels []struct {
		App, Channel string
		Partition    map[string]uint32
	}
	Layout  json.RawMessage
	Streams []struct{ App, Inlet string }
	Spread  struct {
		Layout  json.RawMessage
		Streams []struct{ App, Channel, Stream string }
	}
}

func main() {
	text, err := os.ReadFile(os.Args[2])
	check(err)
	var known vectors
	check(json.Unmarshal(text, &known))
	wrong := 0
	for _, one := range known.Apps {
		for partitions, expected := range one.Partition {
			n, _ := strconv.Atoi(partitions)
			if (layout.Layout{Partitions: uint32(n)}).Partition(one.App, "") != expected {
				wrong++
			}
		}
	}
	for _, one := range known.Channels {
		for partitions, expected := range one.Partition {
			n, _ := strconv.Atoi(partitions)
			spread := layout.Layout{Partitions: uint32(n), Spread: []string{one.App}}
			if spread.Partition(one.App, one.Channel) != expected {
				wrong++
			}
		}
	}
	spread, err := layout.Parse(known.Spread.Layout)
	check(err)
	for _, one := range known.Spread.Streams {
		if spread.Stream(one.App, one.Channel) != one.Stream {
			wrong++
		}
	}
	found, err := layout.Parse(known.Layout)
	check(err)
	for _, one := range known.Streams {
		if found.Stream(one.App, "") != one.Inlet {
			wrong++
		}
	}
	if none, _ := layout.Parse(nil); none.Stream("demo", "") != "carillon:events" {
		wrong++
	}
	fmt.Printf("{\"wrong\": %d}\n", wrong)

	to, err := net.Dial("tcp", os.Args[1])
	check(err)
	server := client{to, bufio.NewReader(to)}
	check(server.enter(os.Args[3]))
	publisher := layout.Publisher{Redis: server, Timeout: 5 * time.Second}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var event struct{ App string }
		check(json.Unmarshal(lines.Bytes(), &event))
		entry, err := publisher.Publish(event.App, lines.Bytes())
		if err != nil {
			entry = "fault: " + err.Error()
		}
		fmt.Println(entry)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
