"""Word tables of the embedded corpus: nouns, adjectives, verbs with the kinds of things they go with, adverbials.

Pure data, one entry a line, most frequent first within a section: words are drawn by Zipf's law on their rank. A noun
of two senses stands under two kinds; the verb, which asks for a kind, then decides on its English translation.
"""

# [kind] German gender plural English[/plural]; "-" for no plural; "!" after the plural: weak (n-declension);
# place nouns end in the German and English preposition for "there". natural gender = grammatical one except ":m" ":f"
NOUNS = """
[person]
Frau f Frauen woman/women
Mann m Männer man/men
Kind n Kinder child/children
Lehrer m Lehrer teacher
Nachbar m Nachbarn! neighbor
Freundin f Freundinnen friend
Junge m Jungen! boy
Mädchen n Mädchen girl
Arzt m Ärzte doctor
Kollege m Kollegen! colleague
Schülerin f Schülerinnen student
Verkäufer m Verkäufer salesman/salesmen
Ingenieurin f Ingenieurinnen engineer
Gast m Gäste guest
Polizist m Polizisten! policeman/policemen
Bauer m Bauern! farmer
Köchin f Köchinnen cook
Künstler m Künstler artist
Touristin f Touristinnen tourist
Bürgermeister m Bürgermeister mayor
Kunde m Kunden! customer
Fahrer m Fahrer driver
Professorin f Professorinnen professor
Journalist m Journalisten! journalist
Bäcker m Bäcker baker
Schauspielerin f Schauspielerinnen actress/actresses
Forscher m Forscher researcher
Pfarrer m Pfarrer priest
Anwältin f Anwältinnen lawyer
Handwerker m Handwerker craftsman/craftsmen
Gärtner m Gärtner gardener
Sängerin f Sängerinnen singer
Soldat m Soldaten! soldier
Pflegerin f Pflegerinnen nurse
Kapitän m Kapitäne captain
Richter m Richter judge
Bibliothekarin f Bibliothekarinnen librarian
Metzger m Metzger butcher
Zeuge m Zeugen! witness/witnesses
Erbin f Erbinnen heiress/heiresses
Schneider m Schneider tailor
Förster m Förster forester
Dolmetscherin f Dolmetscherinnen interpreter
Fischer m Fischer fisherman/fishermen
Einwohner m Einwohner inhabitant
Tischler m Tischler carpenter
Hebamme f Hebammen midwife/midwives
Bergsteiger m Bergsteiger mountaineer
Matrose m Matrosen! sailor
Uhrmacher m Uhrmacher watchmaker
Zauberer m Zauberer magician
Imker m Imker beekeeper
Botschafterin f Botschafterinnen ambassador
Schornsteinfeger m Schornsteinfeger chimney sweep

[family]
Bruder m Brüder brother
Schwester f Schwestern sister
Vater m Väter father
Tochter f Töchter daughter
Sohn m Söhne son
Tante f Tanten aunt
Onkel m Onkel uncle
Großmutter f Großmütter grandmother
Chef m Chefs boss/bosses
Großvater m Großväter grandfather
Cousine f Cousinen cousin
Enkel m Enkel grandson
Nichte f Nichten niece
Neffe m Neffen! nephew
Schwager m Schwäger brother-in-law/brothers-in-law

[worker]
Gärtner m Gärtner gardener
Köchin f Köchinnen cook
Sekretärin f Sekretärinnen secretary
Fahrer m Fahrer driver
Kellner m Kellner waiter
Ingenieurin f Ingenieurinnen engineer
Elektriker m Elektriker electrician
Praktikantin f Praktikantinnen intern

[animal]
Hund m Hunde dog
Katze f Katzen cat
Pferd n Pferde horse
Vogel m Vögel bird
Kuh f Kühe cow
Huhn n Hühner chicken
Hase m Hasen! rabbit
Bär m Bären! bear
Schaf n Schafe sheep/sheep
Ente f Enten duck
Esel m Esel donkey
Wolf m Wölfe wolf/wolves
Ziege f Ziegen goat
Fuchs m Füchse fox
Affe m Affen! monkey
Schwein n Schweine pig
Hirsch m Hirsche deer/deer
Igel m Igel hedgehog
Eule f Eulen owl
Schildkröte f Schildkröten turtle
Eichhörnchen n Eichhörnchen squirrel
Storch m Störche stork
Biber m Biber beaver
Dachs m Dachse badger

[food]
Apfel m Äpfel apple
Kuchen m Kuchen cake
Suppe f Suppen soup
Brötchen n Brötchen roll
Ei n Eier egg
Kartoffel f Kartoffeln potato/potatoes
Wurst f Würste sausage
Salat m Salate salad
Torte f Torten tart
Kirsche f Kirschen cherry
Fisch m Fische fish/fish
Tomate f Tomaten tomato/tomatoes
Nudel f Nudeln noodle
Pfannkuchen m Pfannkuchen pancake
Zwiebel f Zwiebeln onion
Erdbeere f Erdbeeren strawberry
Gurke f Gurken cucumber
Keks m Kekse cookie
Pflaume f Pflaumen plum
Kürbis m Kürbisse pumpkin
Karotte f Karotten carrot
Brezel f Brezeln pretzel
Pilz m Pilze mushroom
Traube f Trauben grape
Zitrone f Zitronen lemon
Pfirsich m Pfirsiche peach
Knödel m Knödel dumpling
Himbeere f Himbeeren raspberry
Walnuss f Walnüsse walnut

[mass]
Brot n - bread
Käse m - cheese
Fleisch n - meat
Reis m - rice
Butter f - butter
Honig m - honey
Schokolade f - chocolate
Obst n - fruit
Gemüse n - vegetables
Schinken m - ham
Knoblauch m - garlic
Spargel m - asparagus

[drink]
Kaffee m - coffee
Tee m - tea
Wasser n - water
Bier n - beer
Milch f - milk
Wein m - wine
Saft m - juice
Limonade f - lemonade
Kakao m - cocoa

[thing]
Tasche f Taschen bag
Schlüssel m Schlüssel key
Uhr f Uhren watch
Stuhl m Stühle chair
Tisch m Tische table
Bild n Bilder picture
Geschenk n Geschenke present
Lampe f Lampen lamp
Ball m Bälle ball
Spiegel m Spiegel mirror
Koffer m Koffer suitcase
Kissen n Kissen pillow
Teller m Teller plate
Messer n Messer knife/knives
Vase f Vasen vase
Schrank m Schränke cupboard
Regenschirm m Regenschirme umbrella
Teppich m Teppiche carpet
Puppe f Puppen doll
Löffel m Löffel spoon
Werkzeug n Werkzeuge tool
Kerze f Kerzen candle
Glocke f Glocken bell
Sessel m Sessel armchair
Gabel f Gabeln fork
Topf m Töpfe pot
Hammer m Hämmer hammer
Münze f Münzen coin
Besen m Besen broom
Seil n Seile rope
Schere f Scheren pair of scissors/pairs of scissors
Nadel f Nadeln needle
Schaufel f Schaufeln shovel
Pinsel m Pinsel brush
Eimer m Eimer bucket
Trommel f Trommeln drum
Säge f Sägen saw
Zelt n Zelte tent
Korken m Korken cork
Pfanne f Pfannen pan
Wecker m Wecker alarm clock
Kompass m Kompasse compass
Sieb n Siebe sieve
Schlitten m Schlitten sled

[container]
Korb m Körbe basket
Kiste f Kisten box
Flasche f Flaschen bottle
Sack m Säcke sack
Stapel m Stapel stack
Sammlung f Sammlungen collection
Haufen m Haufen pile

[clothing]
Mantel m Mäntel coat
Kleid n Kleider dress
Hemd n Hemden shirt
Jacke f Jacken jacket
Rock m Röcke skirt
Pullover m Pullover sweater
Schuh m Schuhe shoe
Schal m Schals scarf/scarves
Anzug m Anzüge suit
Stiefel m Stiefel boot
Handschuh m Handschuhe glove
Bluse f Blusen blouse
Weste f Westen vest
Kittel m Kittel smock

[headwear]
Hut m Hüte hat
Mütze f Mützen cap
Helm m Helme helmet
Brille f Brillen pair of glasses/pairs of glasses
Krone f Kronen crown
Maske f Masken mask

[text]
Buch n Bücher book
Brief m Briefe letter
Zeitung f Zeitungen newspaper
Bericht m Berichte report
Gedicht n Gedichte poem
Artikel m Artikel article
Roman m Romane novel
Postkarte f Postkarten postcard
Märchen n Märchen fairy tale
Rechnung f Rechnungen bill
Tagebuch n Tagebücher diary
Vertrag m Verträge contract
Aufsatz m Aufsätze essay
Zeitschrift f Zeitschriften magazine
Rezept n Rezepte recipe
Drehbuch n Drehbücher script
Handschrift f Handschriften manuscript

[parcel]
Paket n Pakete parcel
Päckchen n Päckchen small parcel
Brief m Briefe letter
Postkarte f Postkarten postcard

[device]
Computer m Computer computer
Telefon n Telefone telephone
Fernseher m Fernseher television
Radio n Radios radio
Drucker m Drucker printer
Maschine f Maschinen machine
Kamera f Kameras camera
Heizung f Heizungen heater
Herd m Herde stove
Kühlschrank m Kühlschränke refrigerator
Waschmaschine f Waschmaschinen washing machine
Motor m Motoren engine
Staubsauger m Staubsauger vacuum cleaner
Mikroskop n Mikroskope microscope
Backofen m Backöfen oven

[vehicle]
Auto n Autos car
Zug m Züge train
Bus m Busse bus/buses
Fahrrad n Fahrräder bicycle
Schiff n Schiffe ship
Flugzeug n Flugzeuge airplane
Taxi n Taxis taxi
Straßenbahn f Straßenbahnen tram
Motorrad n Motorräder motorcycle
Lastwagen m Lastwagen truck
Boot n Boote boat
Hubschrauber m Hubschrauber helicopter
Fähre f Fähren ferry
Traktor m Traktoren tractor

[building]
Haus n Häuser house in in
Wohnung f Wohnungen apartment in in
Hotel n Hotels hotel in at
Kirche f Kirchen church/churches in in
Hütte f Hütten hut in in
Turm m Türme tower in in
Fabrik f Fabriken factory in in
Villa f Villen villa in in
Scheune f Scheunen barn in in
Mühle f Mühlen mill in in
Palast m Paläste palace in in
Kloster n Klöster monastery in in
Brücke f Brücken bridge auf on

[place]
Garten m Gärten garden in in
Küche f Küchen kitchen in in
Schule f Schulen school in at
Park m Parks park in in
Bahnhof m Bahnhöfe station an at
Büro n Büros office in in
Markt m Märkte market auf at
Stadt f Städte city in in
Straße f Straßen street auf on
Restaurant n Restaurants restaurant in at
Dorf n Dörfer village in in
Wald m Wälder forest in in
Krankenhaus n Krankenhäuser hospital in in
Museum n Museen museum in at
Strand m Strände beach/beaches an on
Universität f Universitäten university an at
See m Seen lake an at
Bibliothek f Bibliotheken library in in
Berg m Berge mountain auf on
Fluss m Flüsse river an by
Keller m Keller basement in in
Theater n Theater theater in at
Flughafen m Flughäfen airport an at
Hof m Höfe courtyard in in
Werkstatt f Werkstätten workshop in in
Hafen m Häfen harbor in in
Wiese f Wiesen meadow auf in
Insel f Inseln island auf on
Rathaus n Rathäuser town hall in in
Platz m Plätze square auf in
Kino n Kinos movie theater in at
Bäckerei f Bäckereien bakery in at
Tal n Täler valley in in
Apotheke f Apotheken pharmacy in at
Friedhof m Friedhöfe cemetery auf in
Höhle f Höhlen cave in in
Balkon m Balkone balcony auf on
Labor n Labore laboratory in in
Dachboden m Dachböden attic auf in
Stadion n Stadien stadium in in
Steinbruch m Steinbrüche quarry in in
Weinberg m Weinberge vineyard in in

[business]
Laden m Läden store
Firma f Firmen company
Hotel n Hotels hotel
Restaurant n Restaurants restaurant
Buchhandlung f Buchhandlungen bookstore
Brauerei f Brauereien brewery
Werkstatt f Werkstätten workshop
Gasthof m Gasthöfe inn

[plant]
Baum m Bäume tree
Blume f Blumen flower
Rose f Rosen rose
Strauch m Sträucher shrub
Tulpe f Tulpen tulip
Pflanze f Pflanzen plant
Hecke f Hecken hedge
Sonnenblume f Sonnenblumen sunflower
Nelke f Nelken carnation

[opening]
Tür f Türen door
Fenster n Fenster window
Schublade f Schubladen drawer
Koffer m Koffer suitcase
Tor n Tore gate
Deckel m Deckel lid

[event]
Fest n Feste party
Konzert n Konzerte concert
Kurs m Kurse course
Spiel n Spiele game
Hochzeit f Hochzeiten wedding
Sitzung f Sitzungen meeting
Ausstellung f Ausstellungen exhibition
Vorlesung f Vorlesungen lecture
Versammlung f Versammlungen assembly
Wettbewerb m Wettbewerbe competition
Führung f Führungen tour
Prüfung f Prüfungen exam
Tagung f Tagungen conference
Feier f Feiern celebration

[task]
Frage f Fragen question
Aufgabe f Aufgaben task
Prüfung f Prüfungen exam
Problem n Probleme problem
Rätsel n Rätsel riddle
Entscheidung f Entscheidungen decision
Übung f Übungen exercise

[idea]
Reise f Reisen trip
Geschichte f Geschichten story
Plan m Pläne plan
Idee f Ideen idea
Zukunft f - future
Problem n Probleme problem
Wetter n - weather
Vorschlag m Vorschläge proposal
Urlaub m Urlaube vacation
Antwort f Antworten answer
Traum m Träume dream

[speech]
Rede f Reden speech/speeches
Vortrag m Vorträge talk
Predigt f Predigten sermon

[music]
Lied n Lieder song
Film m Filme movie
Konzert n Konzerte concert
Oper f Opern opera
Walzer m Walzer waltz/waltzes

[instrument]
Klavier n Klaviere piano
Gitarre f Gitarren guitar
Geige f Geigen violin
Flöte f Flöten flute
Trompete f Trompeten trumpet

[opponent]
Mannschaft f Mannschaften team
Gegner m Gegner opponent
Meister m Meister champion

[group]
Gruppe f Gruppen group
Mannschaft f Mannschaften team
Verein m Vereine club
Chor m Chöre choir

[bench]
Bank f Bänke bench/benches
[bank]
Bank f Banken bank
[castle]
Schloss n Schlösser castle
[lock]
Schloss n Schlösser lock
[ladder]
Leiter f Leitern ladder
[manager]
Leiter m Leiter manager
[clay]
Ton m - clay
[sound]
Ton m Töne sound
[bouquet]
Strauß m Sträuße bouquet
[ostrich]
Strauß m Strauße ostrich/ostriches
[pear]
Birne f Birnen pear
[bulb]
Birne f Birnen light bulb
[rooster]
Hahn m Hähne rooster
[tap]
Hahn m Hähne faucet
[map]
Karte f Karten map
[ticket]
Karte f Karten ticket
[blanket]
Decke f Decken blanket
[ceiling]
Decke f Decken ceiling
[tax]
Steuer f Steuern tax/taxes
[wheel]
Steuer n - wheel
[gate]
Tor n Tore gate
[goal]
Tor n Tore goal
[leaf]
Blatt n Blätter leaf/leaves
[sheet]
Blatt n Blätter sheet
[dish]
Gericht n Gerichte dish/dishes
[court]
Gericht n Gerichte court
[snake]
Schlange f Schlangen snake
[line]
Schlange f Schlangen line
[wing]
Flügel m Flügel wing
[piano]
Flügel m Flügel grand piano
[jaw]
Kiefer m Kiefer jaw
[pine]
Kiefer f Kiefern pine
[lentil]
Linse f Linsen lentil
[lens]
Linse f Linsen lens/lenses
[grade]
Note f Noten grade
[note]
Note f Noten note
[spring]
Feder f Federn spring
[feather]
Feder f Federn feather
[cart]
Wagen m Wagen cart
Karren m Karren barrow
Schlitten m Schlitten sled
[habit]
Beruf m Berufe job
Hobby n Hobbys hobby
Plan m Pläne plan
Hoffnung f Hoffnungen hope
[target]
Ziel n Ziele target
Scheibe f Scheiben disk
[sun]
Sonne f - sun
[moon]
Mond m - moon
[money]
Geld n - money
[room]
Küche f Küchen kitchen
Zimmer n Zimmer room
Keller m Keller basement
Büro n Büros office
Werkstatt f Werkstätten workshop
Dachboden m Dachböden attic
[baked]
Kuchen m Kuchen cake
Brot n Brote loaf of bread/loaves of bread
Brötchen n Brötchen roll
Torte f Torten tart
Keks m Kekse cookie
[crossing]
Straße f Straßen street
Brücke f Brücken bridge
Fluss m Flüsse river
Platz m Plätze square
[water]
See m Seen lake in in
Fluss m Flüsse river in in
Teich m Teiche pond in in
Bach m Bäche stream in in
[story]
Geschichte f Geschichten story
Märchen n Märchen fairy tale
Witz m Witze joke
Wahrheit f - truth
[government]
Regierung f Regierungen government
Minister m Minister minister
Stadt f Städte city
[dog]
Hund m Hunde dog
[knife]
Messer n Messer knife/knives
Schere f Scheren pair of scissors/pairs of scissors
[news]
Nachricht f Nachrichten message
Antwort f Antworten answer
Wahrheit f - truth
Geschichte f Geschichten story
"""

# kinds that verbs and adjectives may ask for together
GROUPS = {
    "human": "person family",
    "goods": "thing clothing text food thing thing vehicle device",
    "edible": "food mass",
    "visitable": "building place event",
    "breakable": "device vehicle thing",
    "visible": "thing animal person vehicle building plant",
    "painted": "building animal plant person vehicle",
    "site": "place building",
    "sky": "sun moon",
}

# German English kinds; German "predicate/stem" where the inflected stem differs
ADJECTIVES = """
alt old human thing vehicle building place text clothing castle family event
neu new thing vehicle device text clothing idea person headwear building business
klein small thing animal place building vehicle food container opening bench cart
jung young human animal
groß big thing animal place building vehicle plant container castle opening
schön beautiful place thing building plant clothing castle event instrument music
rot red thing clothing vehicle plant food headwear opening
nett nice human
gut good idea text food drink event
teuer/teur expensive thing clothing vehicle device instrument headwear
blau blue thing clothing vehicle headwear opening
freundlich friendly human worker manager
kalt cold drink
frisch fresh food mass
schwer heavy thing container cart
schwer difficult task
müde tired human animal
billig cheap thing clothing device headwear
schwarz black thing clothing vehicle animal
lang long text speech event
interessant interesting text idea music event task news
weiß white thing clothing building animal
berühmt famous person building castle
krank sick human animal
warm warm clothing drink
grün green thing clothing plant vehicle
leer empty container place building
leicht light thing container
leicht easy task
süß sweet food drink
süß cute animal
reich rich human
hungrig hungry human animal
kaputt broken device vehicle thing
schnell fast vehicle animal
scharf spicy dish
scharf sharp knife
modern modern building device place
fleißig diligent worker person
wild wild animal
grau gray clothing thing animal
hölzern wooden bench ladder thing gate
schmal narrow bench opening
gefährlich dangerous animal place
wichtig important task idea news event
schmutzig dirty clothing vehicle thing
traurig sad human music
dunkel/dunkl dark place clothing building
ruhig quiet place human
laut loud device music sound
gelb yellow thing plant clothing
einsam lonely human place
seltsam strange idea news text sound
neugierig curious human animal
klug smart human animal
höflich polite human worker
rund round thing headwear
seltsam strange human thing
geduldig patient human
ehrlich honest human worker
winzig tiny animal thing
kostbar precious thing instrument
prächtig magnificent castle building
saftig juicy food pear
edel/edl noble animal clothing
rostig rusty vehicle lock thing
langweilig boring text event speech music
stolz proud human
gemütlich cozy building place
zornig angry human
verlassen deserted building place
uralt ancient castle building text
geheimnisvoll mysterious person place text
mutig brave human
schüchtern shy human
steil steep place
zerbrechlich fragile thing
bunt colorful clothing plant thing
faul lazy human animal
durstig thirsty human animal
hübsch pretty clothing thing
unheimlich eerie place sound
bescheiden modest human
heiser hoarse human
vornehm elegant human clothing
"""

# predicative comparison: German, German comparative, English comparative, kinds
COMPARATIVES = """
alt älter older human thing vehicle building place
groß größer bigger animal place building vehicle thing
klein kleiner smaller animal place building thing
schnell schneller faster vehicle animal human
teuer teurer more_expensive thing clothing vehicle device
billig billiger cheaper thing clothing device
schön schöner more_beautiful place building plant
jung jünger younger human
schwer schwerer heavier thing animal
klug klüger smarter human animal
reich reicher richer human
interessant interessanter more_interesting text idea event
stark stärker stronger human animal
gefährlich gefährlicher more_dangerous animal place
fleißig fleißiger more_diligent worker
ruhig ruhiger quieter place
"""

# first part of a compound, with its linking element; English; kinds or single nouns that it may stand before
MODIFIERS = """
Garten garden thing gate opening bench event
Küchen kitchen thing device opening
Schul school text event place device vehicle
Kinder children's text clothing thing event
Sommer summer clothing event building
Holz wooden thing container building opening
Stadt city event place building text map
Winter winter clothing event
Haus house opening Schlüssel Schuh plant
Reise travel text thing Tasche
Abend evening clothing event Zeitung
Arbeits work clothing thing event task
Glas glass thing opening container
Park park bench opening event
Leder leather clothing Tasche Sessel headwear
Familien family event business vehicle
Musik music event Lehrer text
Woll wool clothing headwear blanket
Auto car opening Schlüssel Fahrer Verkäufer
Sport sports clothing event vehicle Lehrer text
Silber silver thing instrument
Kaffee coffee device Topf Löffel Flasche
Plastik plastic thing container
Dorf village event building place opening business
Straßen street event Lampe business
Gold gold thing headwear
Tanz dance event text Lehrer music
Wein wine event Flasche Bauer food
Bahnhofs station Uhr business place opening
Schnee snow vehicle clothing Schaufel
Weihnachts Christmas Baum event text food music
Kirchen church music opening event
Marmor marble thing bench building
Regen rain clothing
Fest festival clothing event music place
Frühlings spring clothing plant event
Herbst autumn clothing plant event
Seiden silk clothing
Kupfer copper thing device
Samt velvet clothing Kissen
Bauern farmer's food building
Papier paper thing container
Theater theater text event
Berg mountain plant building place
Wald forest animal plant place
Meeres ocean animal
Polizei police vehicle text
Zwerg dwarf animal
Kartoffel potato Suppe Salat
Tomaten tomato Suppe Salat
Gemüse vegetable Suppe
Apfel apple Kuchen
Kirsch cherry Kuchen Torte
Pflaumen plum Kuchen Torte
Zwiebel onion Suppe Kuchen
Bus bus Fahrer
Taxi taxi Fahrer
Blumen flower Verkäufer Vase
Zeitungs newspaper Verkäufer text
Geschichts history text Lehrer event
Deutsch German Lehrer event
Mathematik mathematics Lehrer task event
Chemie chemistry Lehrer Labor
Nacht night animal vehicle
Post post Auto vehicle
Hotel hotel opening Gast Garten
Fabrik factory Hof opening
Museums museum opening event Garten
Turm tower Uhr opening
Strand beach clothing Tasche Hotel
Stroh straw headwear Puppe
Kristall crystal thing
Luxus luxury vehicle building
Miet rental vehicle Wohnung
Renn racing vehicle
Spiel toy vehicle
Brief letter opening
Militär military vehicle music
Ritter knight's headwear building
Königs royal headwear building
"""

# what is in a container: first part, English plural or mass noun, containers; translated as "basket of apples"
CONTENTS = """
Bücher books Kiste Stapel Sammlung
Apfel apples Korb Kiste
Wasser water Flasche
Kartoffel potatoes Sack Korb
Wein wine Flasche
Holz wood Haufen Stapel
Obst fruit Korb Kiste
Milch milk Flasche
Brief letters Stapel Sammlung
Münz coins Sammlung
Blumen flowers Korb
Brot bread Korb
Papier paper Stapel
Saft juice Flasche
Sand sand Haufen Sack
Stein stones Haufen Sammlung
Pilz mushrooms Korb
Mehl flour Sack
Bilder pictures Sammlung
Heu hay Haufen
Öl oil Flasche
Werkzeug tools Kiste
Zeitungs newspapers Stapel
Kirsch cherries Korb
Masken masks Sammlung
Teller plates Stapel
Uhren watches Sammlung
Bier beer Flasche Kiste
Puppen dolls Sammlung
Wäsche laundry Korb
"""

# first names, surnames and towns that stay as they are; towns with an English name
MEN = """
Peter Thomas Martin Stefan Paul Karl Otto Jan Felix Lukas Erik Anton Emil Oskar Georg Konrad Ludwig Bruno Kurt Rolf
Dieter Gerhard Helmut Wolfgang Detlef Egon Volker Torsten Ulrich Rainer Armin Bodo Falk Gernot
"""
WOMEN = """
Anna Maria Julia Laura Sabine Monika Eva Lena Clara Petra Helga Ingrid Renate Gisela Birgit Katrin Silke Heike
Ursula Marlene Frieda Paula Greta Elke Anke Dorothea Edeltraud Gudrun Hannelore Roswitha Sieglinde Uta Wiebke
"""
SURNAMES = """
Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Koch Bauer Richter Klein Wolf Neumann
Schwarz Braun Zimmermann Krüger Hartmann Lange Krause Lehmann Köhler Maier Walter König Huber Peters Vogel Keller
Frank Berger Winkler Roth Beck Lorenz Baumann Albrecht Schuster Simon Böhm Winter Kraus Schumacher Krämer Vogt Stein
Jäger Otto Sommer Seidel Brandt Haas Schreiber Graf Dietrich Ziegler Kuhn Kühn Pohl Engel Horn Busch Bergmann Voigt
Sauer Arnold Wolff Pfeiffer
"""
TOWNS = """
Berlin Hamburg Frankfurt Leipzig Dresden Bremen Bonn Stuttgart Dortmund Essen Kiel Rostock Freiburg Heidelberg
Potsdam Weimar Erfurt Jena Ulm Trier Kassel Mainz Salzburg Graz Linz Innsbruck Bern Basel Aachen Bamberg Marburg
Madrid London Paris Oslo
"""
RENAMED_TOWNS = """
München Munich
Wien Vienna
Köln Cologne
Rom Rome
Nürnberg Nuremberg
Zürich Zurich
Venedig Venice
Hannover Hanover
Genf Geneva
Prag Prague
Mailand Milan
Florenz Florence
Warschau Warsaw
Lissabon Lisbon
Brüssel Brussels
Athen Athens
Kopenhagen Copenhagen
Braunschweig Brunswick
Moskau Moscow
Neapel Naples
Straßburg Strasbourg
"""
# the long tail of surnames and villages: first and last parts, put together at random and copied in translation
NAME_STARTS = """
Birken Buchen Linden Stein Hohen Wiesen Reichen Alten Neuen Eber Wolfs Rosen Blanken Lauter Eichen Kalten Langen
Breiten Schönen Grün Raben Ahorn Falken Greifen Hirsch Karls Ludwigs Ober Unter Mittel Tannen Weiden
"""
NAME_ENDS = """
bach berg dorf feld hausen heim hof see tal au brunn hagen rode stedt wald walde furt kirchen born egg
"""

# German|English, by the tense they go with; "#" is a number word, "@" a year
TIMES = {
    "present": """
heute|today
jetzt|now
jeden Tag|every day
am Montag|on Monday
am Abend|in the evening
im Sommer|in the summer
am Sonntag|on Sunday
um # Uhr|at # o'clock
jeden Morgen|every morning
im Winter|in the winter
am Wochenende|on the weekend
nachts|at night
nach der Arbeit|after work
am Freitag|on Friday
jede Woche|every week
vor dem Frühstück|before breakfast
im Herbst|in the fall
am Mittwoch|on Wednesday
""",
    "past": """
gestern|yesterday
letzte Woche|last week
vor # Jahren|# years ago
am Samstag|on Saturday
letztes Jahr|last year
im Jahr @|in @
vor # Tagen|# days ago
im Mai|in May
heute Morgen|this morning
gestern Abend|last night
vorgestern|the day before yesterday
am Dienstag|on Tuesday
im Dezember|in December
vor kurzem|recently
letzten Monat|last month
vor # Wochen|# weeks ago
im Oktober|in October
am Donnerstag|on Thursday
""",
    "future": """
morgen|tomorrow
bald|soon
nächste Woche|next week
in # Tagen|in # days
nächstes Jahr|next year
übermorgen|the day after tomorrow
in # Monaten|in # months
nach dem Essen|after dinner
nächsten Sommer|next summer
""",
}
FREQUENCIES = "oft often|immer always|manchmal sometimes|nie never|selten rarely|meistens usually"
MANNERS = (
    "allein alone|langsam slowly|vorsichtig carefully|leise quietly|sofort immediately|heimlich secretly|"
    "geduldig patiently|widerwillig reluctantly"
)
# stand first in English wherever they stand in German; the English comma is part of the entry
COMMENTS = (
    "leider unfortunately,|vielleicht maybe|natürlich of_course|wahrscheinlich probably,|plötzlich suddenly|"
    "deshalb therefore,|trotzdem nevertheless,|endlich finally,|offenbar apparently,"
)
NUMBERS = (
    "zwei two|drei three|vier four|fünf five|zehn ten|sechs six|sieben seven|acht eight|neun nine|zwölf twelve|"
    "elf eleven|zwanzig twenty|dreißig thirty|fünfzehn fifteen"
)

# English words that vary freely with another one: translations differ among people, and no model can know which
SYNONYMS = """
big large
small little
fast quick
beautiful lovely
sick ill
expensive costly
smart clever
strange odd
sad unhappy
difficult hard
famous well-known
tired weary
broken damaged
dirty filthy
car automobile
picture painting
present gift
store shop
doctor physician
child kid
movie film
telephone phone
bicycle bike
apartment flat
street road
sweater pullover
refrigerator fridge
company firm
story tale
trip journey
boss chief
parcel package
airplane plane
colleague coworker
customer client
city town
bag handbag
coat overcoat
suitcase trunk
"""
